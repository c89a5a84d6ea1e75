"""Plans for ModelServers."""
