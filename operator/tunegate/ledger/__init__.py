"""The hash-chained ledger of audit records."""
