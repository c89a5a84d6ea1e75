"""`tunegate data` and `tunegate answers`."""
