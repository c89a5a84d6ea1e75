"""Places outside the cluster that keep checkpoints of the ledger."""
