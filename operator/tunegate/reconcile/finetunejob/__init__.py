"""Plans for FineTuneJobs."""
