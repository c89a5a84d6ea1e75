"""Who could get around the rules by the roles and bindings of RBAC: now for doctor, and over time for the ledger."""
