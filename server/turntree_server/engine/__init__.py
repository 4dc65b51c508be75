"""Engines run operations on a database: each one whole, in a transaction of its own."""
