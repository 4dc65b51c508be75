"""The tests of turntree."""
