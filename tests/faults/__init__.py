"""What must hold while things go wrong: races, dead networks, hostile clients, bytes that mean nothing."""
