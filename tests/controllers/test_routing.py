"""Which keys are looked at when something changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import builders
from tunegate.controllers.dispatch.facts import facts_of, key_of
from tunegate.controllers.dispatch.routing import PARTS, Routing
from tunegate.kube.client import ObjectKey

Json = dict[str, Any]
Target = tuple[str, ObjectKey]
NOW = datetime(2026, 11, 29, tzinfo=UTC)
JOB = ("FineTuneJob", ObjectKey("team", "job"))
RELEASE = ("ModelRelease", ObjectKey("team", "release"))


def seen(*objects: Json) -> Routing:
    routing = Routing({"team": "policy", "other": "strict"})
    for obj in objects:
        routing.of_resource(obj)
    return routing


def with_status(obj: Json, *, days: float = 0, **status: Any) -> Json:
    """The object as it has been for so many days."""
    changed = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": changed}
    return obj | {"status": {"conditions": [condition], **status}}


def targets_of(routing: Routing, obj: Json, **how: Any) -> list[Target]:
    return list(routing.of_resource(obj, **how).targets)


def relisted(routing: Routing, kind: str, *objects: Json, part: int = 0) -> list[Target]:
    return routing.relist(kind, {key_of(obj): facts_of(obj) for obj in objects}, NOW, part)


def test_a_change_of_a_base_model_concerns_the_servers_that_name_it_and_what_is_made_for_them() -> None:
    routing = seen(
        builders.make_finetunejob(), builders.make_modelrelease(), builders.make_modelserver(),
        builders.make_modelserver("b", "other"), builders.make_modelserver("c", baseModelRef={"name": "another"}),
        builders.make_finetunejob("elsewhere", serverRef={"name": "c"}),
    )  # fmt: skip

    targets = targets_of(routing, builders.make_basemodel())

    assert {
        ("BaseModel", ObjectKey("", "base")), JOB, RELEASE, ("ModelServer", ObjectKey("team", "server")),
        ("ModelServer", ObjectKey("other", "b")),
    } == set(targets)  # fmt: skip


def test_a_change_of_a_pool_concerns_jobs_that_train_on_it_by_their_own_word_or_by_their_servers() -> None:
    routing = seen(
        builders.make_modelserver(), builders.make_finetunejob(), builders.make_modelserver("b", poolRef={"name": "large"}),
        builders.make_finetunejob("own", serverRef={"name": "b"}, poolRef={"name": "pool"}),
        builders.make_finetunejob("none-of-it", serverRef={"name": "b"}),
    )  # fmt: skip

    assert {
        ("ComputePool", ObjectKey("", "pool")), ("ModelServer", ObjectKey("team", "server")), JOB,
        ("FineTuneJob", ObjectKey("team", "own")),
    } == set(targets_of(routing, builders.make_computepool()))  # fmt: skip


def test_a_change_of_a_policy_concerns_the_namespaces_in_which_it_holds() -> None:
    routing = seen(
        builders.make_finetunejob(), builders.make_finetunejob("a", "other"), builders.make_modelrelease("r", "other")
    )

    assert [("ApprovalPolicy", ObjectKey("", "policy")), JOB] == targets_of(routing, builders.make_approvalpolicy())


def test_a_change_in_one_namespace_concerns_no_other() -> None:
    routing = seen(builders.make_finetunejob(), builders.make_finetunejob("elsewhere", "other"))

    targets = targets_of(routing, builders.make_evaluationsuite())

    assert {("EvaluationSuite", ObjectKey("team", "suite")), JOB} == set(targets)


def test_a_job_concerns_its_own_release_and_the_suites_that_ask_what_it_was_asked() -> None:
    other = builders.make_modelrelease("of-another-job", jobRef={"name": "another", "uid": "u"})
    asking = builders.make_evaluationsuite("renamed", "other")
    different = builders.make_evaluationsuite("different", data={"uri": "pvc://d/g.jsonl", "digest": "sha256:1"})
    routing = seen(builders.make_modelrelease(), other, builders.make_evaluationsuite(), asking, different)

    job = builders.make_finetunejob() | {"status": {"phase": "Evaluating", "suiteDataDigest": builders.DIGEST}}

    assert {
        JOB, RELEASE, ("EvaluationSuite", ObjectKey("team", "suite")), ("EvaluationSuite", ObjectKey("other", "renamed")),
    } == set(targets_of(routing, job))  # fmt: skip


def test_a_job_concerns_the_pool_that_it_measured_and_no_other() -> None:
    terms = {"name": "pool", "pricePerDeviceHour": "0", "currency": "USD"}
    routing = seen(builders.make_computepool(), builders.make_computepool("large"))

    running = builders.make_finetunejob() | {"status": {"phase": "Training", "pool": terms}}
    assert [JOB] == [one for one in targets_of(routing, running) if one[0] != "EvaluationSuite"]
    trained = builders.make_finetunejob() | {"status": {"phase": "Sealing", "pool": terms, "throughput": "9"}}
    assert ("ComputePool", ObjectKey("", "pool")) in targets_of(routing, trained)
    assert ("ComputePool", ObjectKey("", "large")) not in targets_of(routing, trained)


def test_a_release_concerns_the_server_that_is_to_serve_it() -> None:
    routing = seen(builders.make_modelserver(), builders.make_modelserver("b"))

    release = builders.make_modelrelease() | {"status": {"phase": "Approved", "serverRef": {"name": "b"}}}

    assert [RELEASE, ("ModelServer", ObjectKey("team", "b"))] == targets_of(routing, release)


@pytest.mark.parametrize(
    "change",
    [
        builders.make_basemodel(), builders.make_computepool(), builders.make_approvalpolicy(), builders.make_modelserver(),
        builders.make_evaluationsuite(), with_status(builders.make_finetunejob(), phase="Succeeded"),
    ],
    ids=lambda obj: str(obj["kind"]),
)  # fmt: skip
def test_no_change_of_others_concerns_what_has_ended(change: Json) -> None:
    routing = seen(builders.make_modelserver())
    for number in range(20):
        phase = ("Denied", "Revoked", "Failed")[number % 3]
        routing.of_resource(with_status(builders.make_modelrelease(f"r-{number}"), phase=phase))
        routing.of_resource(with_status(builders.make_finetunejob(f"j-{number}"), phase="Succeeded"))

    kinds = {kind for kind, key in targets_of(routing, change) if key != key_of(change)}

    assert not kinds & {"ModelRelease", "FineTuneJob"}


def test_a_release_that_failed_with_a_statement_can_come_back_and_is_told() -> None:
    failed = builders.make_modelrelease() | {"status": {"phase": "Failed", "releaseDigest": builders.DIGEST}}

    assert RELEASE in targets_of(seen(failed), builders.make_finetunejob())


def test_progress_is_for_those_who_show_it() -> None:
    routing = seen(builders.make_modelrelease(), builders.make_finetunejob() | {"status": {"phase": "Training"}})

    progress = {"phase": "Training", "progress": {"percent": 5}, "message": "5 %"}
    routed = routing.of_resource(builders.make_finetunejob() | {"status": progress})
    assert ((JOB,), True) == (routed.targets, routed.talk)
    ended = routing.of_resource(builders.make_finetunejob() | {"status": {"phase": "Succeeded"}})
    assert RELEASE in ended.targets
    assert not ended.talk


def test_an_approval_concerns_its_release_once() -> None:
    approval = builders.make_approval()
    approval["metadata"]["resourceVersion"] = "7"
    routing = seen()

    assert [RELEASE] == targets_of(routing, approval)
    assert [] == targets_of(routing, approval), "the watch stream tells again what a listing found"


def test_an_approval_of_a_waiver_concerns_its_job_and_no_release_of_the_name() -> None:
    approval = builders.make_approval(subjectRef={"kind": "FineTuneJob", "name": "job", "uid": "1"})

    assert [JOB] == targets_of(seen(), approval)


def test_a_child_concerns_the_owner_that_its_labels_name() -> None:
    labels = {"tunegate.io/job": "job", "tunegate.io/server": "server"}
    pod = {"metadata": {"name": "p", "namespace": "team", "labels": labels}}
    hashing = {"metadata": {"name": "h", "namespace": "system", "labels": {"tunegate.io/base-model": "base"}}}

    assert {JOB, ("ModelServer", ObjectKey("team", "server"))} == set(seen().of_child(pod, NOW).targets)
    assert (("BaseModel", ObjectKey("", "base")),) == seen().of_child(hashing, NOW).targets


def test_what_long_ended_jobs_left_concerns_nobody() -> None:
    pod = {"metadata": {"name": "p", "namespace": "team", "labels": {"tunegate.io/job": "job"}}}
    ended = with_status(builders.make_finetunejob(), phase="Succeeded", days=2)
    lately = with_status(builders.make_finetunejob(), phase="Succeeded", days=0.5)

    assert () == seen(ended).of_child(pod, NOW).targets
    assert (JOB,) == seen(lately).of_child(pod, NOW).targets


def test_a_deleted_object_is_looked_at_once_more_and_forgotten() -> None:
    routing = seen(builders.make_finetunejob())

    assert JOB in targets_of(routing, builders.make_finetunejob(), deleted=True)
    assert JOB not in targets_of(routing, builders.make_evaluationsuite())


def test_a_listing_finds_what_no_event_told_of_and_drops_ghosts() -> None:
    routing = seen(builders.make_finetunejob("ghost"))

    assert [("FineTuneJob", ObjectKey("team", "ghost")), JOB] == relisted(
        routing, "FineTuneJob", builders.make_finetunejob()
    )
    assert ("FineTuneJob", ObjectKey("team", "ghost")) not in targets_of(routing, builders.make_evaluationsuite())


def test_a_listing_finds_the_release_of_an_approval_that_no_event_told_of() -> None:
    routing = seen()

    assert [] == relisted(routing, "Approval", builders.make_approval("first")), "the releases are listed as well"
    assert [RELEASE] == relisted(routing, "Approval", builders.make_approval("first"), builders.make_approval("second"))


def test_history_is_looked_at_once_in_all_parts_and_what_ended_lately_each_time() -> None:
    old = [with_status(builders.make_finetunejob(f"old-{n}"), phase="Failed", days=2) for n in range(200)]
    for number, job in enumerate(old):
        job["metadata"]["uid"] = f"uid-{number}"
    lately = with_status(builders.make_finetunejob("lately"), phase="Failed", days=0.5)
    key = ("FineTuneJob", ObjectKey("team", "lately"))
    routing = seen()

    listings = [relisted(routing, "FineTuneJob", lately, *old, part=part) for part in range(PARTS)]

    assert all(key in listing for listing in listings)
    assert max(map(len, listings)) < 30
    once = sorted(target for listing in listings for target in listing if target != key)
    assert once == sorted(("FineTuneJob", key_of(job)) for job in old)
    assert [key] == routing.relist_open("FineTuneJob", {}, NOW), "a listing without history forgets nothing"


def test_a_release_that_failed_long_ago_is_not_looked_at_at_each_resync_unless_it_changed_unseen() -> None:
    failed = with_status(builders.make_modelrelease(), phase="Failed", days=2)
    routing = seen(failed)

    assert [] == routing.relist_open("ModelRelease", {key_of(failed): facts_of(failed)}, NOW)
    changed = with_status(builders.make_modelrelease(), phase="Failed", days=3)
    changed["metadata"] = changed["metadata"] | {"uid": "another"}
    assert [RELEASE] == routing.relist_open("ModelRelease", {key_of(changed): facts_of(changed)}, NOW)


@pytest.mark.parametrize(
    ("days", "seconds", "looked_at"),
    [(2, 3 * 86400, False), (3, 3 * 86400, True), (3.5, 3 * 86400, True), (5, 3 * 86400, False), (2, 0, False)],
)
def test_an_old_job_is_looked_at_again_when_its_time_to_live_is_over(
    days: float, seconds: int, looked_at: bool
) -> None:
    job = builders.make_finetunejob(ttlSecondsAfterFinished=seconds)
    end = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = facts_of(with_status(job, phase="Failed", days=days, completionTime=end))

    assert looked_at is not facts.rests(NOW)


@pytest.mark.parametrize(
    ("change", "rests"),
    [
        ({}, True),
        ({"phase": "Training"}, False),
        ({"conditions": []}, False),
        ({"observedGeneration": 1}, False),
        ({"conditions": [{"type": "LineageRecorded", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}, False),
        ({"conditions": [{"type": "LineageRecorded", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}, True),
    ],
)  # fmt: skip
def test_a_job_rests_when_it_ended_and_everything_about_it_is_written(change: Json, rests: bool) -> None:
    job = with_status(builders.make_finetunejob(), days=2, phase="Succeeded", observedGeneration=2)
    job["metadata"]["generation"] = 2
    job["status"] |= change

    assert rests is facts_of(job).rests(NOW)


def test_a_job_that_found_a_suite_unusable_concerns_that_suite() -> None:
    routing = Routing({})
    job = builders.make_finetunejob("job", "team")
    job["status"] = {"unusableSuites": [{"name": "typo", "digest": "sha256:0", "problem": "another digest"}]}

    assert ("EvaluationSuite", ObjectKey("team", "typo")) in targets_of(routing, job)
