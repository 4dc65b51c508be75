"""What tests share: items to write, a clock that stands still, and short ways to read."""
