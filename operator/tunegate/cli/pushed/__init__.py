"""`data` and `documents`: bring them into the registry, see what is there, withdraw it."""
