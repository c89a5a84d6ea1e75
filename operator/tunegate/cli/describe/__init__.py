"""`tunegate describe` and `tunegate who`."""
