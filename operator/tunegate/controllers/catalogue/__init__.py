"""Controllers of base models, compute pools, approval policies and evaluation suites."""
