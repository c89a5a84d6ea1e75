"""FineTuneJob: data in, judged adapter out."""
