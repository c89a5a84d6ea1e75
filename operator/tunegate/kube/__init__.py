"""The Kubernetes API as the operator uses it: plain dicts in and out, errors as three classes."""
