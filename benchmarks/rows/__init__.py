"""The rows of the table of goals, each file a few that belong together."""
