"""`tunegate retry`, `clone`, `suspend`, `resume`, `compare` and `plot`: what is done with jobs day by day."""
