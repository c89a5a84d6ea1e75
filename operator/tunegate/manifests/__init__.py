"""Kubernetes objects as plain dicts: builders without I/O, decisions or clocks."""
