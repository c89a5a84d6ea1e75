"""`tunegate submit`, `release` and `plan`."""
