"""The OCI registry: result documents and adapters, addressed and verified by digest."""
