"""A stage's result counts only if it is about what this job planned: every field of every stage, the configuration first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.job_world import CHECKPOINT_SECRET, World, condition, run_to
from tests.support.stage_documents import GOOD, validated
from tunegate.api.stage.results import StageInputs
from tunegate.digests import sha256
from tunegate.manifests.stage_job import config_digest

FOREIGN = sha256(b"foreign")
READ = {
    "Validate": ("base_model", "profile", "suite", "documents", "adapter", "baseline_result"),
    "Baseline": ("base_model", "profile", "dataset", "suite", "documents", "adapter", "baseline_result"),
    "Train": ("base_model", "dataset", "suite", "adapter"),
    "Seal": ("adapter", "dataset"),
    "Evaluate": ("base_model", "profile", "dataset", "suite", "adapter", "baseline_result", "documents"),
}


def stage_of(world: World, name: str) -> dict[str, Any]:
    return next(stage for stage in world.status["stages"] if stage["name"] == name)


def told(world: World, stage: str) -> Any:
    """The digest of the configuration in the template of the stage's only Job."""
    (name,) = [name for name in world.history if f"-{stage.lower()}-" in name]
    return config_digest(world.jobs[name]["spec"]["template"]["spec"])


def refuse(world: World, stage: str, result: Any) -> str:
    """Let the running pod of ``stage`` end with ``result``; return why it was not taken."""
    pod = next(pod for pod in world.active_pods() if pod["metadata"]["labels"]["tunegate.io/stage"] == stage)
    world.say(pod, result)
    world.sync_jobs()
    world.reconcile()
    found = stage_of(world, stage)
    assert (found["state"], found["reason"], found["errors"]) == ("Waiting", "ResultDiffers", 1)
    assert "resultDigest" not in found
    return str(found["message"])


@pytest.mark.attack(51, 52)
@pytest.mark.parametrize("stage", GOOD)
def test_the_configuration_that_was_planned_is_the_one_that_the_result_names(stage: str) -> None:
    world = World()
    pod = run_to(world, stage)
    assert stage_of(world, stage)["configDigest"] == told(world, stage)
    honest = world.honest(pod, GOOD[stage]())
    message = refuse(world, stage, honest.model_copy(update={"config_digest": FOREIGN}))
    assert f"configDigest: planned {told(world, stage)}, found {FOREIGN}" in message


@pytest.mark.attack(52)
@pytest.mark.parametrize("stage", GOOD)
def test_a_result_without_a_configuration_is_not_taken(stage: str) -> None:
    world = World()
    pod = run_to(world, stage)
    assert "found none" in refuse(
        world, stage, world.honest(pod, GOOD[stage]()).model_copy(update={"config_digest": None})
    )


@pytest.mark.attack(52, 56, 58)
@pytest.mark.parametrize(("stage", "field"), [(stage, field) for stage, fields in READ.items() for field in fields])
def test_what_a_stage_really_read_is_compared_field_by_field(stage: str, field: str) -> None:
    world = World()
    pod = run_to(world, stage)
    honest = world.honest(pod, GOOD[stage]())
    inputs = honest.inputs.model_copy(update={field: FOREIGN})
    message = refuse(world, stage, honest.model_copy(update={"inputs": inputs}))
    alias = StageInputs.model_fields[field].alias
    assert f"another inputs.{alias}: planned" in message
    assert f"found {FOREIGN}" in message


@pytest.mark.attack(52)
@pytest.mark.parametrize("stage", ["Validate", "Baseline", "Train", "Seal", "Evaluate"])
def test_a_stage_that_does_not_say_what_it_read_is_not_taken(stage: str) -> None:
    world = World()
    pod = run_to(world, stage)
    refuse(world, stage, world.honest(pod, GOOD[stage]()).model_copy(update={"inputs": StageInputs()}))


@pytest.mark.attack(52)
@pytest.mark.parametrize(
    ("stage", "field", "name"),
    [
        ("Validate", "dataset_digest", "datasetDigest"),
        ("Validate", "documents_digest", "documentsDigest"),
        ("Baseline", "documents_digest", "documentsDigest"),
        ("Seal", "repository", "repository"),
        ("Seal", "manifest_digest", "manifestDigest"),
        ("Evaluate", "adapter_manifest_digest", "adapterManifestDigest"),
        ("Evaluate", "base_model_digest", "baseModelDigest"),
        ("Evaluate", "profile_digest", "profileDigest"),
        ("Evaluate", "suite_digest", "suiteDigest"),
    ],
)
def test_what_a_result_repeats_of_its_inputs_is_compared_too(stage: str, field: str, name: str) -> None:
    world = World()
    pod = run_to(world, stage)
    honest = world.honest(pod, GOOD[stage]())
    assert f"another {name}: planned" in refuse(world, stage, honest.model_copy(update={field: FOREIGN}))


@pytest.mark.attack(56)
def test_rows_of_another_digest_than_the_job_names_are_no_result() -> None:
    world = World(spec={"dataset": {**_dataset(), "digest": sha256(b"promised rows")}})
    pod = run_to(world, "Validate")
    honest = world.honest(pod, validated(dataset_digest=FOREIGN))
    inputs = honest.inputs.model_copy(update={"dataset": FOREIGN})
    assert "inputs.dataset" in refuse(world, "Validate", honest.model_copy(update={"inputs": inputs}))


def test_after_a_crash_the_configuration_is_that_of_the_job_that_exists() -> None:
    world = World()
    run_to(world, "Baseline")
    before = stage_of(world, "Baseline")["configDigest"]
    # The status was lost after the Job was created.
    for stage in world.status["stages"]:
        if stage["name"] == "Baseline":
            stage |= {"state": "Waiting", "attempt": 0}
            stage.pop("configDigest")
    world.reconcile()
    assert stage_of(world, "Baseline")["attempt"] == 1
    assert stage_of(world, "Baseline")["configDigest"] == before == told(world, "Baseline")


def test_honest_results_are_taken_by_the_next_attempt() -> None:
    world = World()
    pod = run_to(world, "Train")
    refuse(world, "Train", world.honest(pod, GOOD["Train"]()).model_copy(update={"config_digest": FOREIGN}))
    world.settle()
    assert condition(world.status, "Complete")["reason"] == "GatePassed"


@pytest.mark.parametrize(("code", "reason"), [(6, "ConfigurationDiffers"), (7, "InputChanged")])
def test_a_pod_that_refuses_what_was_put_before_it_is_tried_again_and_not_for_ever(code: int, reason: str) -> None:
    world = World()
    for attempt in range(1, 9):
        pod = run_to(world, "Train")
        world.end_pod(pod, code)
        world.sync_jobs()
        world.reconcile()
        assert (stage_of(world, "Train")["reason"], stage_of(world, "Train")["errors"]) == (reason, attempt)
        if world.status["phase"] == "Failed":
            break
        world.pass_time(700)
    assert condition(world.status, "Complete")["reason"] == "ErrorBudgetSpent"


@pytest.mark.attack(59)
def test_training_waits_while_the_key_of_its_checkpoints_is_somebody_elses() -> None:
    world = World()
    world.others[("Secret", CHECKPOINT_SECRET)] = {
        "kind": "Secret", "metadata": {"name": CHECKPOINT_SECRET, "labels": {}}, "data": {},
    }  # fmt: skip
    world.settle(rounds=12)
    assert condition(world.status, "Scheduled")["reason"] == "WaitingForSecret"
    assert CHECKPOINT_SECRET in world.status["message"]
    assert not [name for name in world.history if "-train-" in name]

    world.delete("Secret", CHECKPOINT_SECRET)
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert ("Secret", CHECKPOINT_SECRET) not in world.others, "nothing goes on from a checkpoint any more"


@pytest.mark.attack(59)
def test_checkpoints_of_somebody_else_are_told_in_status_and_event() -> None:
    world = World()
    pod = run_to(world, "Train")
    world.answer(pod, GOOD["Train"]().model_copy(update={"foreign_checkpoints": 2}))
    world.sync_jobs()
    step = world.reconcile()
    assert step is not None
    assert "foreign checkpoints ignored: 2" in stage_of(world, "Train")["message"]
    assert [event.reason for event in step.events if event.type == "Warning"] == ["ForeignCheckpoints"]


def _dataset() -> dict[str, Any]:
    from tests.support.stage_documents import job

    return job().spec.dataset.to_dict()
