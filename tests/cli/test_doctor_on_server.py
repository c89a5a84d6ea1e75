"""`doctor` on the real server: the rules as the API server has them, rights as RBAC has them, each person's own view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import Cli
from tests.support.governed_namespace import World, as_list, render, scoped

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
RULES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@pytest.fixture
def cli(world: World, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(world, capsys)


@pytest.fixture(scope="module")
def rules(world: World) -> list[Json]:
    """The admission rules of this test's namespaces, as its chart has them."""
    record = json.loads(world.kubectl("admin", "get", "auditrecord", world.record, "-o", "json").passes().out)
    objects = scoped(render(world.namespace), world.namespace, record["spec"]["subject"]["uid"])
    return [one for one in objects if one["kind"] in RULES]


@pytest.fixture(scope="module")
def installed(world: World, rules: list[Json]) -> Iterator[str]:
    """The operator's Deployment, without pods, and the rules that it was given; returns the system namespace."""
    name = next(
        rule["resourceNames"][0]
        for one in render(world.namespace)
        if (one["kind"], one["metadata"]["name"]) == ("Role", "tunegate-auditor")
        for rule in one["rules"]
        if rule["resources"] == ["configmaps"]
    )
    text = yaml.safe_dump_all(rules)
    settings = {
        "TUNEGATE_GOVERNED": json.dumps([{"name": world.namespace, "policy": "no-such-policy"}]),
        "TUNEGATE_LEDGER_KEYS": "/etc/tunegate/ledger",
        "TUNEGATE_POWERS_SECONDS": "600",
    }
    labels = {"doctor": "test"}
    objects: list[Json] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"rules.yaml": text}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tunegate-operator"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{
                        "name": "operator", "image": "example.invalid/none",
                        "env": [{"name": key, "value": value} for key, value in settings.items()],
                    }],
                    "volumes": [{"name": "admission", "configMap": {"name": name}}],
                },
            }},
        },
    ]  # fmt: skip
    world.kubectl("admin", "apply", "-n", world.system, "-f", "-", stdin=as_list(objects)).passes()
    yield world.system
    world.kubectl("admin", "delete", "-n", world.system, "-f", "-", stdin=as_list(objects)).passes()


def looked(cli: Cli, role: str, system: str, code: int) -> dict[str, Json]:
    shown = cli.run(role, "doctor", "--system-namespace", system, "-o", "json", code=code)
    return {one["name"]: one for one in json.loads(shown)}


def test_an_auditor_sees_everything_and_what_is_wrong_is_a_failure(cli: Cli, installed: str) -> None:
    found = looked(cli, "auditor", installed, code=1)
    assert not [name for name, one in found.items() if one["state"] == "not seen"]
    assert found["Kubernetes"]["state"] == "OK"
    assert found["admission rules"]["state"] == "OK", found["admission rules"]
    assert found["assurance level"]["found"].startswith("L1, accounts")
    assert found[f"policy of {cli.world.namespace}"]["found"] == "ApprovalPolicy no-such-policy does not exist"
    assert found["anchors"]["state"] == "WARN"
    assert found["last change of powers"]["found"] == "no record that the operator ever looked"
    table = cli.run("auditor", "doctor", "--system-namespace", installed, code=1)
    assert f"FAIL  policy of {cli.world.namespace}" in table
    assert "checks: " in table.splitlines()[-1]


@pytest.mark.attack(31)
def test_a_rule_that_was_loosened_is_named(cli: Cli, installed: str, rules: list[Json]) -> None:
    binding = next(one for one in rules if one["kind"] == RULES[1] and "approver" in one["metadata"]["name"])
    loosened = {**binding, "spec": {**binding["spec"], "validationActions": ["Audit"]}}
    cli.world.kubectl("admin", "apply", "-f", "-", stdin=loosened).passes()
    try:
        check = looked(cli, "auditor", installed, code=1)["admission rules"]
    finally:
        cli.world.kubectl("admin", "apply", "-f", "-", stdin=binding).passes()
    assert check["state"] == "FAIL"
    assert f"{binding['metadata']['name']}: spec.validationActions was changed" in check["found"]


def test_people_of_tunegate_who_may_impersonate_are_named(cli: Cli, installed: str) -> None:
    name = f"{cli.world.namespace}-impersonator"
    create = ("create", "clusterrole", name, "--verb=impersonate", "--resource=users")
    bind = ("create", "clusterrolebinding", name, f"--clusterrole={name}", "--group=tunegate:engineers")
    try:
        cli.world.kubectl("admin", *create).passes()
        cli.world.kubectl("admin", *bind).passes()
        check = looked(cli, "auditor", installed, code=1)["impersonate people"]
    finally:
        for kind in ("clusterrolebinding", "clusterrole"):
            cli.world.kubectl("admin", "delete", kind, name, "--ignore-not-found").passes()
    assert check["state"] == "FAIL"
    assert "group tunegate:engineers" in check["found"]


def test_rules_from_elsewhere_are_compared_instead_of_the_operators_own(
    cli: Cli, installed: str, rules: list[Json], tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    more = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}
    unknown = {**rules[0], "metadata": {"name": "a-rule-that-the-cluster-lacks"}}
    file.write_text(yaml.safe_dump_all([more, *rules, unknown]))
    own = ("doctor", "--system-namespace", installed, "--rules", str(file), "-o", "json")
    found = {one["name"]: one for one in json.loads(cli.run("auditor", *own, code=1))}
    assert found["admission rules"]["found"].endswith("a-rule-that-the-cluster-lacks is missing")
    file.write_text("kind: ConfigMap\n")
    assert "no admission rules; make it with helm template" in cli.run("auditor", *own, code=1)


def test_what_a_person_may_not_read_is_not_seen_and_never_good(cli: Cli, installed: str) -> None:
    found = looked(cli, "outsider", installed, code=0)
    assert {one["state"] for name, one in found.items() if name != "Kubernetes"} == {"not seen"}
    assert found["ways around"]["found"] == "you may not read clusterroles"
    told = cli.run("outsider", "doctor", "--system-namespace", installed).splitlines()[0]
    assert told.startswith("This account may not look at 18 of 19 things")


PLANTED: tuple[tuple[str, Json], ...] = (
    ("objects of {0}", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tunegate-routes-planted"}}),
    (
        "network policies of {0}",
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "planted"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
        },
    ),
    (
        "external addresses",
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "planted"},
            "spec": {"ports": [{"port": 80}], "externalIPs": ["192.0.2.7"]},
        },
    ),
)  # fmt: skip


@pytest.mark.attack(51, 62, 66)
def test_what_was_planted_past_the_rules_is_named(cli: Cli, installed: str) -> None:
    """A maintainer's account planted it: the rules let nobody else."""
    namespace = cli.world.namespace
    objects = [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for _, obj in PLANTED]
    names = [name.format(namespace) for name, _ in PLANTED]
    before = looked(cli, "auditor", installed, code=1)
    try:
        for obj in objects:
            cli.world.create("admin", obj, dry_run=False).passes()
        found = looked(cli, "auditor", installed, code=1)
    finally:
        for obj in objects:
            name = obj["metadata"]["name"]
            cli.world.kubectl("admin", "delete", obj["kind"], name, "-n", namespace, "--ignore-not-found").passes()
    assert {before[name]["state"] for name in names[:2]} == {"OK"}
    assert {found[name]["state"] for name in names} == {"FAIL"}
    assert all("planted" in found[name]["found"] for name in names)


def test_where_no_operator_is_the_option_is_named(cli: Cli) -> None:
    told = cli.run("admin", "doctor", "--system-namespace", cli.world.namespace, code=1)
    assert "say where Tunegate is with --system-namespace" in told
