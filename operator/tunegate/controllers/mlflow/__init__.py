"""The controllers that copy jobs and releases to MLflow."""
