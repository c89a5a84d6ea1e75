"""Which changes are looked at before all others, because something may have to stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support import builders
from tunegate.api.modelrelease import MAY_SERVE, ModelRelease
from tunegate.controllers.dispatch.urgency import stops
from tunegate.kube.client import ObjectKey
from tunegate.reconcile.modelserver.observed import may_answer

Json = dict[str, Any]
NOW = datetime(2026, 11, 29, tzinfo=UTC)
SERVERS = [ObjectKey("team", "server"), ObjectKey("other", "server")]
JOB = [("FineTuneJob", ObjectKey("team", "job"))]
SERVER = [("ModelServer", SERVERS[0])]
RELEASE = [("ModelRelease", ObjectKey("team", "release"))]


def changed(obj: Json, status: Json, **metadata: Any) -> Json:
    return obj | {"status": status, "metadata": obj["metadata"] | metadata}


def release(phase: str, **metadata: Any) -> Json:
    status = {"phase": phase, "serverRef": {"name": "server"}, "servedName": "release-01234567"}
    return changed(builders.make_modelrelease(), status, **metadata)


@pytest.mark.parametrize(
    ("obj", "first"),
    [
        (builders.make_approval(decision="Revoke"), RELEASE + SERVER),
        (builders.make_approval(decision="Withdraw"), RELEASE + SERVER),
        (builders.make_approval(decision="Approve"), []),
        (release("Serving"), []),
        (release("Serving", deletionTimestamp="2026-11-29T00:00:00Z"), SERVER),
        (release("Revoked"), SERVER),
        (changed(builders.make_modelserver(), {"observedGeneration": 1}, generation=2), SERVER),
        (changed(builders.make_modelserver(), {"observedGeneration": 2}, generation=2), []),
        (changed(builders.make_finetunejob(suspend=True), {"phase": "Training"}), JOB),
        (changed(builders.make_finetunejob(suspend=True), {"phase": "Suspended"}), []),
        (changed(builders.make_finetunejob(suspend=True), {"phase": "Failed"}), []),
        (changed(builders.make_finetunejob(), {"phase": "Training"}, deletionTimestamp="2026-11-29T00:00:00Z"), JOB),
        (changed(builders.make_finetunejob(), {"phase": "Training"}), []),
    ],
)  # fmt: skip
def test_what_may_have_to_stop_is_looked_at_first(obj: Json, first: list[tuple[str, ObjectKey]]) -> None:
    assert stops(obj, deleted=False, servers=SERVERS) == first


@pytest.mark.parametrize("phase", MAY_SERVE)
def test_a_release_that_was_deleted_answers_no_more_though_something_keeps_the_object(phase: str) -> None:
    served = ModelRelease.model_validate(release(phase))
    deleted = ModelRelease.model_validate(release(phase, deletionTimestamp="2026-11-29T00:00:00Z"))

    assert may_answer(served, (), (), NOW)
    assert not may_answer(deleted, (), (), NOW)
