"""`tunegate show` and `tunegate who`."""
