"""`tunegate route` and `tunegate ask`: what answers under which name, and asking it."""
