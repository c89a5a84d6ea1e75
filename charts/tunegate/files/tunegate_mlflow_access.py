"""Who may do what in MLflow: the operator writes, everybody else reads runs and models, and nothing else.

MLflow's own rights cannot express this: anyone who may sign in may also make experiments, prompts (which are registered models),
gateway secrets and the like, and list the users. MLflow calls this function at every request, before its own checks.
"""

from __future__ import annotations

from flask import request
from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response
from werkzeug.datastructures import Authorization
from werkzeug.wrappers import Response

WRITER = "tunegate-operator"
READING_METHODS = ("GET", "HEAD", "OPTIONS")
READING_ENDS = ("search", "graphql")
"""Last part of paths whose POST requests change nothing."""
CLOSED = ("users", "roles", "permissions", "gateway", "secrets", "webhooks", "jobs", "scorers")
"""Parts of paths that are about neither runs nor models."""
OPEN = ("users/current",)


def authenticate() -> Authorization | Response:
    """Return the caller, or the refusal."""
    caller = authenticate_request_basic_auth()
    if not isinstance(caller, Authorization) or caller.username == WRITER:
        return caller
    path = request.path.rstrip("/")
    parts = path.split("/")
    reads = request.method in READING_METHODS or (request.method == "POST" and parts[-1] in READING_ENDS)
    closed = not path.endswith(OPEN) and any(part.startswith(word) for part in parts for word in CLOSED)
    return caller if reads and not closed else make_forbidden_response()
