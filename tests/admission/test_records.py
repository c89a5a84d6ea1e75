"""Records stay: not edited, not deleted, not given owners, and nobody but the operator says how things stand.

Where RBAC alone would refuse, the platform administrator tries: she holds every right of RBAC.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.builders import (
    make_approvalpolicy,
    make_basemodel,
    make_computepool,
    make_evaluationsuite,
    make_finetunejob,
    make_modelserver,
)
from tests.support.governed_namespace import OPERATOR, Json, World, first_record, labelled, owned, patch, say_phase

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"


@pytest.fixture(scope="module")
def approval(world: World) -> str:
    made = labelled(world, world.approval())
    world.create("reviewer-risk", made, dry_run=False).passes()
    return str(made["metadata"]["name"])


@pytest.fixture(scope="module")
def release(world: World) -> str:
    world.create("engineer", labelled(world, world.release("kept")), dry_run=False).passes()
    return "kept"


@pytest.mark.attack(8)
def test_approval_is_not_edited(world: World, approval: str) -> None:
    patch(world, ADMIN, "approval", approval, {"spec": {"reason": "something else"}}).refused(
        "cannot change after creation"
    )


@pytest.mark.attack(8)
def test_approval_keeps_its_labels_and_annotations(world: World, approval: str) -> None:
    change = {"metadata": {"annotations": {"note": "x"}}}
    patch(world, ADMIN, "approval", approval, change).refused("is a record")


@pytest.mark.attack(17)
def test_approval_is_not_deleted(world: World, approval: str) -> None:
    world.kubectl(ADMIN, "delete", "approval", approval, "-n", world.namespace).refused("approvals are never deleted")


@pytest.mark.attack(17)
def test_approvals_are_not_deleted_as_a_collection(world: World, approval: str) -> None:
    path = f"/apis/tunegate.io/v1alpha1/namespaces/{world.namespace}/approvals"
    world.kubectl(ADMIN, "delete", "--raw", path).refused("approvals are never deleted")
    world.kubectl(ADMIN, "get", "approval", approval, "-n", world.namespace).passes()


@pytest.mark.attack(17)
def test_approval_is_not_deleted_by_the_operator_either(world: World, approval: str) -> None:
    args = ("delete", "approval", approval, "-n", world.namespace)
    world.kubectl("admin", *args, as_=OPERATOR, groups=("system:masters",)).refused("approvals are never deleted")


@pytest.mark.attack(8)
def test_release_is_not_edited(world: World, release: str) -> None:
    patch(world, ADMIN, "modelrelease", release, {"spec": {"risk": "High"}}).refused("cannot change after creation")


def test_release_that_was_never_approved_may_be_deleted(world: World) -> None:
    world.create("engineer", world.release("withdrawn"), dry_run=False).passes()
    world.kubectl("engineer", "delete", "modelrelease", "withdrawn", "-n", world.namespace).passes()


@pytest.mark.attack(17)
def test_release_that_was_approved_is_not_deleted(world: World) -> None:
    world.create("engineer", labelled(world, world.release("served")), dry_run=False).passes()
    say_phase(world, "served", "Serving", approvedTime="2026-01-01T00:00:00Z")
    world.kubectl(ADMIN, "delete", "modelrelease", "served", "-n", world.namespace).refused("never deleted")
    say_phase(world, "served", "Revoked")
    world.kubectl(ADMIN, "delete", "modelrelease", "served", "-n", world.namespace).refused("never deleted")


@pytest.mark.attack(17, 42)
def test_release_that_was_overridden_is_not_deleted(world: World) -> None:
    world.create("engineer", labelled(world, world.release("overridden")), dry_run=False).passes()
    say_phase(world, "overridden", "Overridden")
    world.kubectl(ADMIN, "delete", "modelrelease", "overridden", "-n", world.namespace).refused("never deleted")
    closed = {"overrides": "1/1", "grantedTime": "2026-01-01T00:00:00Z", "outcome": "Expired"}
    say_phase(world, "overridden", "PendingApproval", override=closed)
    world.kubectl(ADMIN, "delete", "modelrelease", "overridden", "-n", world.namespace).refused("never deleted")


@pytest.mark.attack(15)
def test_status_of_a_release_is_written_by_the_operator_only(world: World, release: str) -> None:
    change = {"status": {"phase": "Approved"}}
    for role in (ADMIN, "admin"):
        patch(world, role, "modelrelease", release, change, "--subresource=status").refused("only the operator writes")
    say_phase(world, release, "PendingApproval")


@pytest.mark.attack(15)
def test_status_brought_along_on_creation_is_dropped(world: World) -> None:
    made = {**world.release("early"), "status": {"phase": "Approved"}}
    answer = world.kubectl(ADMIN, "create", "-f", "-", "--dry-run=server", "-o", "json", "--validate=false", stdin={
        **made, "spec": {**made["spec"], "requestedBy": {"username": "petra"}}
    })  # fmt: skip
    assert json.loads(answer.passes().out).get("status", {}).get("phase") != "Approved"


def make_own_job() -> Json:
    """Return a job in the name of the user who creates it below."""
    return make_finetunejob(requestedBy={"username": "tunegate-admin"})


@pytest.mark.attack(15)
@pytest.mark.parametrize(
    "make",
    [make_own_job, make_basemodel, make_computepool, make_approvalpolicy, make_evaluationsuite, make_modelserver],
)
def test_status_of_every_other_kind_is_written_by_the_operator_only(world: World, make: Callable[[], Json]) -> None:
    made = labelled(world, make())
    made["metadata"]["name"] = world.namespace
    if "namespace" in made["metadata"]:
        made["metadata"]["namespace"] = world.namespace
    kind = made["kind"].lower()
    world.create("admin", made, dry_run=False).passes()
    try:
        change = {"status": {"message": "all is well"}}
        patch(world, ADMIN, kind, world.namespace, change, "--subresource=status").refused("only the operator writes")
    finally:
        world.kubectl("admin", "delete", kind, world.namespace, "-n", world.namespace, "--wait=false").passes()


@pytest.mark.attack(29)
def test_ledger_is_written_by_the_operator_only(world: World) -> None:
    record = first_record()
    record["metadata"]["name"] = "audit-9999999999"
    record["metadata"]["labels"] = {"tunegate.io/subject-uid": world.namespace}
    world.create(ADMIN, record).refused("only the operator appends")
    world.create("admin", record, as_=OPERATOR, groups=("system:masters",)).passes()


@pytest.mark.attack(17)
def test_audit_record_is_not_deleted(world: World) -> None:
    world.kubectl(ADMIN, "delete", "auditrecord", world.record, "--dry-run=server").refused("never deleted")


@pytest.mark.attack(29)
def test_audit_record_is_not_edited(world: World) -> None:
    change = json.dumps({"spec": {"actor": "nobody"}})
    args = ("patch", "auditrecord", world.record, "--type=merge", "-p", change, "--dry-run=server")
    world.kubectl(ADMIN, *args).refused("cannot change after creation")
    world.kubectl("admin", *args, as_=OPERATOR, groups=("system:masters",)).refused("cannot change after creation")


@pytest.mark.attack(17)
def test_owner_reference_on_creation_is_refused(world: World) -> None:
    made = labelled(world, owned(world.approval()))
    world.create("reviewer-risk", made).refused("metadata.ownerReferences are not allowed")


@pytest.mark.attack(18)
def test_finalizer_on_creation_is_refused(world: World) -> None:
    made = labelled(world, world.release("held"))
    made["metadata"]["finalizers"] = ["example.org/mine"]
    world.create("engineer", made).refused("metadata.finalizers")


@pytest.mark.attack(18)
def test_finalizer_added_later_is_refused(world: World, release: str) -> None:
    change = {"metadata": {"finalizers": ["example.org/mine"]}}
    patch(world, ADMIN, "modelrelease", release, change).refused("metadata.finalizers")


@pytest.mark.attack(17)
def test_governed_namespace_is_not_deleted(world: World) -> None:
    world.kubectl(ADMIN, "delete", "namespace", world.namespace, "--dry-run=server").refused(
        "holds approvals and evidence"
    )


@pytest.mark.attack(17)
def test_crd_of_ours_is_not_deleted(world: World) -> None:
    answer = world.kubectl(ADMIN, "delete", "crd", "approvals.tunegate.io", "--dry-run=server")
    answer.refused("would delete every object of its kind")
