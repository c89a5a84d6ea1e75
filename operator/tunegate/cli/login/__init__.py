"""Signing in by an OpenID provider, and the program that shows kubectl the token."""
