"""The controller of ModelReleases."""
