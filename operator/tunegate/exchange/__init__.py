"""The exchange: a Kubernetes token opens what its holder may read in the registry, and lets in what they may push."""
