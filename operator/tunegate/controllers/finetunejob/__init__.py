"""The controller of FineTuneJobs."""
