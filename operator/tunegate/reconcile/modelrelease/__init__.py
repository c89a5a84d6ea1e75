"""Plans for ModelReleases."""
