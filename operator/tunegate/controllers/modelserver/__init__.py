"""The controller of ModelServers."""
