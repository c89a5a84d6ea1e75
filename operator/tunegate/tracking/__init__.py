"""Lineage in MLflow: the display for people, never the root of trust. Nothing here decides anything."""
