"""Tests of several clients together."""
