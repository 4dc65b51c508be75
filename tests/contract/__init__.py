"""The contract of `Store`: one suite that every store passes."""
