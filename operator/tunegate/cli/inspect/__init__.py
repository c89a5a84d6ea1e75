"""`tunegate inspect data` and `tunegate inspect answers`."""
