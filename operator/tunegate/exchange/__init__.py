"""The exchange: a Kubernetes token opens what its holder may read in registry and MLflow, and lets in what they may push."""
