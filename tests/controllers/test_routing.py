"""Which keys are looked at when something changes."""

from __future__ import annotations

from typing import Any

from tests.support import builders
from tunegate.controllers.dispatch.routing import Routing
from tunegate.kube.client import ObjectKey

Json = dict[str, Any]
JOB = ("FineTuneJob", ObjectKey("team", "job"))


def seen(*objects: Json) -> Routing:
    routing = Routing()
    for obj in objects:
        routing.of_resource(obj)
    return routing


def test_a_change_of_a_catalogue_entry_concerns_all_who_may_name_it() -> None:
    routing = seen(builders.make_finetunejob(), builders.make_modelserver(), builders.make_modelserver("b", "other"))

    targets = routing.of_resource(builders.make_basemodel())

    assert {
        ("BaseModel", ObjectKey("", "base")),
        JOB,
        ("ModelServer", ObjectKey("team", "server")),
        ("ModelServer", ObjectKey("other", "b")),
    } == set(targets)


def test_a_change_in_one_namespace_concerns_no_other() -> None:
    routing = seen(builders.make_finetunejob(), builders.make_finetunejob("elsewhere", "other"))

    targets = routing.of_resource(builders.make_evaluationsuite())

    assert {("EvaluationSuite", ObjectKey("team", "suite")), JOB} == set(targets)


def test_progress_concerns_the_job_alone() -> None:
    routing = seen(builders.make_modelrelease(), builders.make_finetunejob() | {"status": {"phase": "Training"}})

    progress = {"phase": "Training", "progress": {"percent": 5}, "message": "5 %"}
    assert [JOB] == routing.of_resource(builders.make_finetunejob() | {"status": progress})
    ended = routing.of_resource(builders.make_finetunejob() | {"status": {"phase": "Succeeded"}})
    assert ("ModelRelease", ObjectKey("team", "release")) in ended


def test_an_approval_concerns_its_release() -> None:
    targets = Routing().of_resource(builders.make_approval())

    assert [("ModelRelease", ObjectKey("team", "release"))] == targets


def test_an_approval_of_a_waiver_concerns_its_job_and_no_release_of_the_name() -> None:
    approval = builders.make_approval(subjectRef={"kind": "FineTuneJob", "name": "job", "uid": "1"})

    assert [JOB] == Routing().of_resource(approval)


def test_a_child_concerns_the_owner_that_its_labels_name() -> None:
    labels = {"tunegate.io/job": "job", "tunegate.io/server": "server"}
    pod = {"metadata": {"name": "p", "namespace": "team", "labels": labels}}
    hashing = {"metadata": {"name": "h", "namespace": "system", "labels": {"tunegate.io/base-model": "base"}}}

    assert {JOB, ("ModelServer", ObjectKey("team", "server"))} == set(Routing().of_child(pod))
    assert [("BaseModel", ObjectKey("", "base"))] == Routing().of_child(hashing)


def test_a_deleted_object_is_looked_at_once_more_and_forgotten() -> None:
    routing = seen(builders.make_finetunejob())

    assert JOB in routing.of_resource(builders.make_finetunejob(), deleted=True)
    assert JOB not in routing.of_resource(builders.make_basemodel())


def test_a_listing_finds_what_no_event_told_of_and_drops_ghosts() -> None:
    routing = seen(builders.make_finetunejob("ghost"))

    listed = routing.relist("FineTuneJob", [builders.make_finetunejob()])

    assert [("FineTuneJob", ObjectKey("team", "ghost")), JOB] == listed
    assert ("FineTuneJob", ObjectKey("team", "ghost")) not in routing.of_resource(builders.make_basemodel())
