"""The evidence of a release as one folder that needs no cluster: what belongs in it, and whether it fits. Pure."""
