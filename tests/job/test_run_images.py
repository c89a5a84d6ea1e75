"""The images in a job's status are those that nodes say they ran, whatever was asked for."""

from __future__ import annotations

from typing import Any

from tests.support.job_world import World
from tests.support.stage_documents import SETTINGS
from tunegate.digests import sha256
from tunegate.reconcile.attempt.images import run_images


def pod(**ran: str) -> dict[str, Any]:
    """A pod whose engine is a sidecar; ``ran`` is the `imageID` by container."""
    statuses = [{"name": name, "image": "alias", "imageID": text} for name, text in ran.items()]
    spec = {
        "initContainers": [{"name": "engine", "image": "vllm:1"}],
        "containers": [{"name": "stage", "image": "t:1"}],
    }
    return {
        "metadata": {},
        "spec": spec,
        "status": {
            "initContainerStatuses": [one for one in statuses if one["name"] == "engine"],
            "containerStatuses": [one for one in statuses if one["name"] == "stage"],
        },
    }


def test_every_container_is_named_with_what_was_asked_and_what_ran() -> None:
    ran = run_images([pod(engine=f"docker-pullable://vllm@{sha256(b'e')}", stage=f"host/t@{sha256(b't')}")])
    assert [(one.container, one.image, one.digest) for one in ran] == [
        ("engine", "vllm:1", sha256(b"e")),
        ("stage", "t:1", sha256(b"t")),
    ]
    assert ran[1].reference == f"t:1 ({sha256(b't')})"


def test_nodes_with_one_image_are_one_entry_and_a_node_with_another_shows() -> None:
    one, other = pod(stage=sha256(b"one")), pod(stage=sha256(b"other"))
    assert [entry.digest for entry in run_images([one, one])] == [sha256(b"one")]
    assert {entry.digest for entry in run_images([one, other])} == {sha256(b"one"), sha256(b"other")}


def test_container_that_never_ran_has_no_image() -> None:
    assert run_images([pod(engine="", stage="t:1"), {"metadata": {}, "status": {}}]) == []


def test_each_stage_of_a_job_keeps_the_images_of_the_attempt_that_gave_its_result() -> None:
    world = World()
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert {stage["name"]: stage["images"] for stage in world.status["stages"]} == {
        name: [{"container": "stage", "image": SETTINGS.trainer_image, "digest": sha256(name.encode())}]
        for name in ("Validate", "Baseline", "Train", "Seal", "Evaluate")
    }
