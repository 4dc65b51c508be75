"""The documentation tells the truth: its examples run, its commands exist, its tables are those of the code."""
