"""Programs for contributors, called by the Makefile: they choose tests for a change and generate tables of pages."""
