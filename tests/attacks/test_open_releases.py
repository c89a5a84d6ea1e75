"""Attacks on a release between the request and its approval, by people of the real API server; the controller then answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import release_evidence
from tests.support.builders import DIGEST, make_basemodel, make_finetunejob, make_modelserver
from tests.support.command_line import get
from tests.support.governed_namespace import World, patch
from tests.support.registry_process import RunningRegistry
from tests.support.release_cluster import Json, Settle, ask, made_catalogue, make_ready, passed

pytestmark = pytest.mark.cluster
REVIEWERS = {
    "ravi": ("reviewer-risk", "tunegate:model-risk", "risk"),
    "cora": ("reviewer-compliance", "tunegate:compliance", "compliance"),
}
"""Kubeconfig, group and role."""
ERIN = {"username": "erin", "groups": ["tunegate:engineers"]}


def approve(world: World, who: str, subject: Json, digest: str) -> Json:
    """Let a reviewer approve with their own credentials; return the Approval."""
    credential, group, role = REVIEWERS[who]
    made = world.approval(who, group, subjectRef=subject, subjectDigest=digest, role=role)
    world.create(credential, made, dry_run=False).passes()
    return made


def submitted(world: World, name: str, **changes: Any) -> str:
    """Let erin submit a job; return its uid."""
    made = make_finetunejob(name, world.namespace, requestedBy=ERIN, **changes)
    world.create("engineer", made, dry_run=False).passes()
    return str(json.loads(get(world, "FineTuneJob", name))["metadata"]["uid"])


def dropped(status: Json) -> dict[str, str]:
    return {one["username"]: one["reason"] for one in status["dropped"]}


@pytest.mark.attack(10)
async def test_approvals_of_one_release_are_worth_nothing_for_another_of_the_same_job(
    world: World, job: str, settle: Settle
) -> None:
    honest, other = ask(world, "honest", job), ask(world, "replayed", job)
    digest = (await settle("honest"))["releaseDigest"]
    assert (await settle("replayed"))["releaseDigest"] != digest
    ravis = approve(world, "ravi", honest, digest)
    approve(world, "cora", honest, digest)
    assert (await settle("honest"))["phase"] == "Approved"

    copied = {**ravis, "metadata": {**ravis["metadata"], "name": "copied"}}
    copied["spec"] = {**ravis["spec"], "subjectRef": other}
    world.create("engineer", copied).refused("cannot create resource")
    world.create("platform-admin", copied).refused("spec.approver")
    approve(world, "ravi", other, digest)
    approve(world, "cora", {**other, "uid": honest["uid"]}, digest)
    status = await settle("replayed")
    assert (status["phase"], status["approvals"]) == ("PendingApproval", "0/2")
    assert dropped(status) == {"ravi": "WrongDigest", "cora": "WrongSubject"}


@pytest.mark.attack(11)
async def test_approvals_from_before_there_was_evidence_do_not_count_when_it_comes(
    world: World, catalogue: dict[str, Json], registry: RunningRegistry, settle: Settle
) -> None:
    subject = ask(world, "hasty", submitted(world, "early"), job="early")
    status = await settle("hasty")
    assert status["phase"] == "PendingEvidence"
    assert "releaseDigest" not in status
    for who in REVIEWERS:
        approve(world, who, subject, DIGEST)
    assert (await settle("hasty"))["phase"] == "PendingEvidence"

    passed(world, catalogue, registry, "early")
    status = await settle("hasty")
    assert (status["phase"], status["approvals"]) == ("PendingApproval", "0/2")
    assert dropped(status) == {"ravi": "WrongDigest", "cora": "WrongDigest"}


def another_base_model(world: World, name: str) -> None:
    """A BaseModel cannot be edited, but deleted and made again; then it is hashed."""
    other = "pvc://models/other"
    edit = ("--type=merge", "-p", json.dumps({"spec": {"source": other}}))
    world.kubectl("platform-admin", "patch", "basemodel", name, *edit).refused("BaseModel")
    world.kubectl("platform-admin", "delete", "basemodel", name).passes()
    world.create("platform-admin", make_basemodel(name, source=other), dry_run=False).passes()
    make_ready(world, name, release_evidence.digest("8"))


def another_engine(world: World, name: str) -> None:
    """A server's profile cannot be edited, but the server deleted and made again."""
    profile = {"image": f"example.org/engine@{DIGEST}", "device": "CPU", "maxModelLen": 1024}
    patch(world, "platform-admin", "modelserver", name, {"spec": {"profile": profile}}).refused("profile")
    world.kubectl("platform-admin", "delete", "modelserver", name, "-n", world.namespace).passes()
    made = make_modelserver(name, world.namespace, baseModelRef={"name": name}, profile=profile)
    world.create("platform-admin", made, dry_run=False).passes()


@pytest.mark.attack(14)
@pytest.mark.parametrize(("swap", "part"), [(another_base_model, "base model"), (another_engine, "engine profile")])
async def test_what_was_judged_and_is_another_thing_now_is_not_approved(
    world: World, catalogue: Json, registry: RunningRegistry, settle: Settle, swap: Callable[..., None], part: str
) -> None:
    own = f"{world.namespace}-{part.split(maxsplit=1)[0]}"
    with made_catalogue(world, own, own) as judged:
        submitted(world, own, serverRef={"name": own})
        subject = ask(world, own, passed(world, judged, registry, own), job=own)
        digest = (await settle(own))["releaseDigest"]
        swap(world, own)
        for who in REVIEWERS:
            approve(world, who, subject, digest)
        status = await settle(own)
    assert status["phase"] == "Failed"
    (tampered,) = [one for one in status["conditions"] if one["type"] == "Tampered"]
    assert (tampered["status"], tampered["reason"]) == ("True", "DigestMismatch")
    assert part in status["message"]


@pytest.mark.attack(16)
async def test_annotations_of_the_framework_neither_approve_nor_keep_the_controller_away(
    world: World, job: str, settle: Settle
) -> None:
    subject = ask(world, "annotated", job)
    digest = (await settle("annotated"))["releaseDigest"]
    forged = (
        'kopf.zalando.org/last-handled-configuration={"spec":{},"status":{"phase":"Approved"}}',
        'kopf.zalando.org/on-update={"success":true,"purpose":"update"}',
        "tunegate.io/phase=Approved",
    )
    where = ("annotate", "modelrelease", "annotated", "-n", world.namespace, *forged)
    world.kubectl("engineer", *where).refused("cannot patch resource")
    world.kubectl("platform-admin", *where).passes()
    approve(world, "ravi", subject, digest)
    status = await settle("annotated")
    assert (status["phase"], status["approvals"]) == ("PendingApproval", "1/2")
    approve(world, "cora", subject, digest)
    assert (await settle("annotated"))["phase"] == "Approved"


@pytest.mark.attack(23)
async def test_a_policy_that_is_loosened_helps_the_next_release_and_no_open_one(
    world: World, catalogue: dict[str, Json], job: str, settle: Settle
) -> None:
    subject = ask(world, "open", job)
    approve(world, "ravi", subject, (await settle("open"))["releaseDigest"])
    roles = catalogue["ApprovalPolicy"]["spec"]["roles"]

    def write(roles: list[Json]) -> None:
        change = ("--type=merge", "-p", json.dumps({"spec": {"roles": roles}}))
        world.kubectl("platform-admin", "patch", "approvalpolicy", world.namespace, *change).passes()

    write([one for one in roles if one["name"] == "risk"])
    try:
        status = await settle("open")
        assert (status["phase"], status["approvals"]) == ("PendingApproval", "1/2")
        assert status["missing"] == [{"role": "compliance", "missing": 1}]
        ask(world, "next", job)
        assert (await settle("next"))["approvals"] == "0/1"
    finally:
        write(roles)
