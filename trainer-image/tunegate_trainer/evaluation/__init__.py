"""Judging a tuned model against every cheap alternative, on the engine that will serve it."""
