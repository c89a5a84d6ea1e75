"""What only who works on Tunegate runs: tests that a change concerns, pages with generated tables. The Makefile calls it."""
