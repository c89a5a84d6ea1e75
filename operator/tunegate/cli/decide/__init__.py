"""`tunegate approve`, `reject`, `withdraw`, `revoke` and `override`."""
