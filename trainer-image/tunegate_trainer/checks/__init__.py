"""What is looked for in training data. Every module says what its check knows and what it cannot see."""
