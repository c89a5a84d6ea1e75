"""`tunegate plan`."""
