"""`tunegate`, the command line: a plain client of the API server with the user's own credentials, and nothing more."""
