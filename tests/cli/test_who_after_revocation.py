"""`who` after a revocation, against a real API server of the test's own: who revoked, when and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.builders import DIGEST, make_modelrelease, make_modelserver
from tests.support.command_line import Cli, say
from tests.support.control_plane import Member
from tests.support.governed_namespace import World
from tests.support.separate_server import governed_alone

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("reviewer-risk", "ravi", ("tunegate:model-risk",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
    Member("serving-operator", "sven", ("tunegate:serving-operators",)),
)
REASON = "wrong totals in production since Monday"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with governed_alone(tmp_path_factory.mktemp("plane"), MEMBERS) as world:
        yield world


def served(world: World, phase: str, state: str) -> None:
    """As the operator says it of a release and its route."""
    say(
        world,
        "modelrelease",
        "invoices-1",
        {"phase": phase, "releaseDigest": DIGEST, "servedName": "invoices-1-00000000"},
    )
    route = {"name": "invoices", "state": state, "reason": "" if state == "Open" else "no approved release"}
    say(world, "modelserver", "server", {"phase": "Ready", "routes": [route]})


def test_who_says_who_revoked_a_release_when_and_why(world: World, cli: Cli) -> None:
    who = {"username": "erin", "groups": ["tunegate:engineers"]}
    world.kubectl(
        "admin", "create", "-f", "-", stdin=make_modelserver(namespace=world.namespace, routes=[{"name": "invoices"}])
    ).passes()
    asked = make_modelrelease("invoices-1", world.namespace, modelName="invoices", requestedBy=who)
    world.create("engineer", asked, dry_run=False).passes()
    served(world, "Serving", "Closed")
    (before,) = json.loads(cli.run("engineer", "who", "invoices", "-o", "json"))
    assert "revoked" not in before

    cli.run("serving-operator", "revoke", "invoices-1", "--reason", REASON, "--yes")
    served(world, "Revoked", "Closed")
    for name in ("invoices", "invoices-1"):
        (found,) = json.loads(cli.run("engineer", "who", name, "-o", "json"))
        revoked = found["revoked"]
        assert (revoked["release"], revoked["by"], revoked["reason"]) == ("invoices-1", "sven", REASON)
        assert revoked["time"].endswith("Z")
        shown = cli.run("engineer", "who", name)
        assert REASON in shown
        assert "sven" in shown
