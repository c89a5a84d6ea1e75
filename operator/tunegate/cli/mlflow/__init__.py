"""MLflow on one person's machine."""
