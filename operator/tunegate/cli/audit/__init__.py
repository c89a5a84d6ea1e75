"""`tunegate audit` and `tunegate evidence`."""
