"""Histories of concurrent calls, and a judge of whether each call took effect at one moment between its two ends."""
