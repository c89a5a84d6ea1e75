"""Plans for base models, compute pools, approval policies and evaluation suites."""
