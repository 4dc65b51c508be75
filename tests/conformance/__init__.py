"""One set of cases, played through the client of every language."""
