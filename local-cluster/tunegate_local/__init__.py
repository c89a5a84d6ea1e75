"""A real single-node Kubernetes for people who have none: started, stopped and wiped by one command.

Standard library only, because it runs before any virtual environment exists.
"""
