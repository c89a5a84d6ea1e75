"""`tunegate create`."""
