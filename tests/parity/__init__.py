"""Parity with the Agents SDK's AdvancedSQLiteSession: the same calls, side by side, and the same files."""
