"""Releases: what exactly is approved, and whether enough people agreed. Pure."""
