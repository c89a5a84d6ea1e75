"""`tunegate get`."""
