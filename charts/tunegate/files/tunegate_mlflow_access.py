"""Who may do what in MLflow: the operator writes, the exchange reads for people, and nobody else signs in.

The exchange proves who a person is and names the namespaces whose runs they may read. MLflow has one user for each set of
namespaces, with the right to read those experiments and models alone, so that MLflow's own checks filter each answer.
MLflow's rights cannot express the rest: anyone who may sign in may also make experiments, prompts (which are registered
models), gateway secrets and the like, and list the users. MLflow calls `authenticate` at every request, before its own checks.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from flask import g, request
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response, store
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME
from werkzeug.datastructures import Authorization
from werkzeug.wrappers import Response

WRITER, EXCHANGE = "tunegate-operator", "tunegate-exchange"
NAMESPACES_HEADER = "X-Tunegate-Namespaces"
"""Namespaces whose runs the caller of the exchange may read, sorted and separated by commas; `*`: all, and the ledger's."""
EVERYTHING = "*"
OWNER_TAG, STANDS_FOR_TAG = "gov.managedBy", "gov.standsFor"
OURS = f"tags.`{OWNER_TAG}` = 'tunegate'"
KINDS = ("experiment", "registered_model")
EXPERIMENT = "tunegate/"
"""What the names of namespaces' experiments begin with."""
GRANTS_LAST_SECONDS = 5.0
"""How long an experiment or model that is new may stay unseen."""
PAGE = 1000
LONGEST_NAME = 200
_NAMES = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(,[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_API = re.compile(r"/(?:ajax-)?api/\d\.\d(/mlflow(?:-artifacts)?/.*)")
PAGES = re.compile(r"/(|version|get-artifact|model-versions/get-artifact|static-files/.*)")
READ = (
    "artifacts/list", "experiments/get", "experiments/get-by-name", "experiments/search", "logged-models/[^/]+",
    "metrics/get-history", "metrics/get-history-bulk", "metrics/get-history-bulk-interval", "model-versions/alias",
    "model-versions/get", "model-versions/get-download-uri", "model-versions/search", "registered-models/alias",
    "registered-models/get", "registered-models/get-latest-versions", "registered-models/search", "runs/get", "server-info",
    "ui-telemetry", "users/current",
)  # fmt: skip
"""What is read by GET below `/mlflow/`: what pages about runs and models ask for, and clients of MLflow."""
ASKED = (
    "experiments/search", "experiments/search-datasets", "logged-models/search", "registered-models/get-latest-versions",
    "runs/search",
)  # fmt: skip
"""What is read by POST there. With `/graphql` nothing else is sent."""
READ_PATHS = re.compile(rf"/mlflow/(?:{'|'.join(READ)})|/mlflow-artifacts/artifacts(?:/.*)?")
ASKED_PATHS = re.compile(rf"/mlflow/(?:{'|'.join(ASKED)})")


def authenticate() -> Authorization | Response:
    """Return the caller, or the refusal. MLflow asks several times within a request."""
    if (known := g.get("tunegate_caller")) is not None:
        return known
    caller = authenticate_request_basic_auth()
    if not isinstance(caller, Authorization) or caller.username == WRITER:
        return caller
    named = request.headers.get(NAMESPACES_HEADER, "")
    if caller.username != EXCHANGE or not reads(request.method, request.path.rstrip("/") or "/") or not _known(named):
        return make_forbidden_response()
    g.tunegate_caller = Authorization("basic", {"username": readers().user(named), "password": ""})
    return g.tunegate_caller


def reads(method: str, path: str) -> bool:
    """Tell whether a request only reads runs and models."""
    api = _API.fullmatch(path)
    if method in ("GET", "HEAD"):
        return bool(READ_PATHS.fullmatch(api[1]) if api else PAGES.fullmatch(path))
    return method == "POST" and (path == "/graphql" or bool(api and ASKED_PATHS.fullmatch(api[1])))


def _known(named: str) -> bool:
    return named == EVERYTHING or bool(_NAMES.fullmatch(named))


class Readers:
    """MLflow's users that stand for sets of namespaces, with rights that grow with what the operator makes there."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def user(self, named: str) -> str:
        """Return the user of a set of namespaces. Nobody knows its password: it is chosen here and forgotten."""
        name = _user_name(named)
        with self._lock:
            if self._until.get(name, 0.0) > time.monotonic():
                return name
            if name not in self._until and not store.has_user(name):
                store.create_user(name, secrets.token_urlsafe(24))
            rows = store.list_grants(store.get_user(name).id, DEFAULT_WORKSPACE_NAME, KINDS)
            granted, readable = {(row.resource_type, row.resource_pattern) for row in rows}, self._readable(named)
            for kind, key in readable - granted:
                store.grant_user_permission(name, kind, key, "READ")
            for kind, key in granted - readable:
                store.revoke_user_resource_permission(name, kind, key)
            self._until[name] = time.monotonic() + GRANTS_LAST_SECONDS
        return name

    def _readable(self, named: str) -> set[tuple[str, str]]:
        if named == EVERYTHING:
            return {(kind, EVERYTHING) for kind in KINDS}
        wanted, found = set(named.split(",")), set()
        for one in self._pages(self._client.search_experiments, view_type=ViewType.ALL):
            stands_for = one.tags.get(STANDS_FOR_TAG, "")
            if stands_for.startswith(EXPERIMENT) and stands_for.removeprefix(EXPERIMENT) in wanted:
                found.add(("experiment", str(one.experiment_id)))
        for one in self._pages(self._client.search_registered_models):
            namespace, dot, _ = one.tags.get(STANDS_FOR_TAG, "").partition(".")
            if dot and namespace in wanted:
                found.add(("registered_model", str(one.name)))
        return found

    def _pages(self, search: Callable[..., Any], **more: Any) -> Iterator[Any]:
        token = None
        while True:
            page = search(filter_string=OURS, max_results=PAGE, page_token=token, **more)
            yield from page
            token = page.token
            if not token:
                return


@cache
def readers() -> Readers:
    """Return the users that stand for people, of the server's own stores."""
    stores = os.environ["MLFLOW_BACKEND_STORE_URI"]
    return Readers(MlflowClient(tracking_uri=stores, registry_uri=stores))


def _user_name(named: str) -> str:
    """Return the user of a set of namespaces, as pages show it."""
    name = f"reader of {named.replace(',', ', ')}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"reader of {named.count(',') + 1} namespaces, {hashlib.sha256(named.encode()).hexdigest()[:16]}"
