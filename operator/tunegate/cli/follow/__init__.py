"""`tunegate wait` and `tunegate logs`."""
