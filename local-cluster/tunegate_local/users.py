"""The people of the demo, each with a client certificate of their own: identity is what the API server proves."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate_local import certificates, settings

PRIVATE = 0o600


@dataclass(frozen=True)
class User:
    """A person (common name) in groups (organizations), known by a role in file names."""

    role: str
    name: str
    groups: tuple[str, ...] = ()


PEOPLE = (
    User("engineer", "erin", ("tunegate:engineers",)),
    User("reviewer-risk", "ravi", ("tunegate:model-risk",)),
    User("reviewer-compliance", "cora", ("tunegate:compliance",)),
    User("evaluation-owner", "eva", ("tunegate:evaluation-owners",)),
    User("policy-owner", "paul", ("tunegate:policy-owners",)),
    User("serving-operator", "sven", ("tunegate:serving-operators",)),
    User("auditor", "ada", ("tunegate:auditors",)),
    User("platform-admin", "petra", ("tunegate:platform-admins",)),
    User("outsider", "olga"),
    User("admin", "tunegate-admin", ("system:masters",)),
)


def kubeconfig(role: str) -> Path:
    return settings.USERS / f"{role}.kubeconfig"


def ensure_people() -> None:
    settings.USERS.mkdir(parents=True, exist_ok=True, mode=0o700)
    for user in PEOPLE:
        ensure_kubeconfig(kubeconfig(user.role), f"user-{user.role}", user.name, user.groups)


def ensure_kubeconfig(path: Path, certificate: str, name: str, groups: Sequence[str]) -> Path:
    """A kubeconfig that carries its certificate inside, so that the file can be handed to its person as it is."""
    pair = certificates.ensure_leaf(certificate, name, groups)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tunegate-local",
        "clusters": [
            {
                "name": "tunegate-local",
                "cluster": {
                    "server": settings.API_URL,
                    "certificate-authority-data": _encoded(certificates.authority().certificate),
                },
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _encoded(pair.certificate),
                    "client-key-data": _encoded(pair.key),
                },
            }
        ],
        "contexts": [{"name": "tunegate-local", "context": {"cluster": "tunegate-local", "user": name}}],
    }
    wanted = json.dumps(document, indent=2) + "\n"
    if not path.exists() or path.read_text() != wanted:
        path.unlink(missing_ok=True)
        path.touch(mode=PRIVATE)
        path.write_text(wanted)
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
