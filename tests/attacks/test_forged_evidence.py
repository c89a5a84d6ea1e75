"""Forged facts: what the planner, the statement and the chart make of them, without a cluster."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from tests.support import helm
from tests.support.release_walk import Walk
from tunegate.release.evidence import Shortfall, assess
from tunegate.release.statement import build


@pytest.mark.attack(16)
def test_annotations_of_the_framework_change_nothing_in_the_plan() -> None:
    plain, forged = Walk(), Walk()
    forged.job, forged.release = plain.job, copy.deepcopy(plain.release)
    forged.release["metadata"]["annotations"] = {
        "kopf.zalando.org/last-handled-configuration": '{"spec":{},"status":{"phase":"Approved"}}',
        "kopf.zalando.org/on-update": '{"success":true,"purpose":"update"}',
        "tunegate.io/phase": "Approved",
    }
    for _ in range(3):
        assert forged.step() == plain.step()
    assert forged.phase == "PendingApproval"


def digest_in(walk: Walk, cluster: str) -> str:
    evidence = assess(replace(walk.live(), cluster=cluster))
    assert not isinstance(evidence, Shortfall)
    return build(evidence).digest


@pytest.mark.attack(10)
def test_the_same_release_in_another_cluster_has_another_digest() -> None:
    walk = Walk()
    assert digest_in(walk, "cluster-1") == digest_in(walk, "cluster-1")
    assert digest_in(walk, "cluster-1") != digest_in(walk, "cluster-2")


@pytest.mark.attack(32, 33)
def test_no_webhook_stands_between_people_and_the_rules() -> None:
    objects = helm.render(helm.values())
    assert [one["metadata"]["name"] for one in objects if one["kind"].endswith("WebhookConfiguration")] == []
    operator = next(spec for name, spec in helm.pod_specs(objects) if name == "tunegate-operator")
    ports = [port["name"] for container in operator["containers"] for port in container.get("ports", [])]
    assert ports == ["http"]
