"""A baseline that another job has measured with the same inputs is taken over; with any other input it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.job_world import SECRET, World, run_to
from tests.support.stage_documents import NAMESPACE, SETTINGS, baselined, job, validated
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.results import BaselineResult, StageInputs
from tunegate.digests import sha256
from tunegate.reconcile.finetunejob.observed import ReusableBaseline
from tunegate.reconcile.finetunejob.reuse import measured_by, wanted_baseline
from tunegate.reconcile.naming import stage_repository

Json = dict[str, Any]


def earlier_job(documents: str | None = None, **spec: Any) -> FineTuneJob:
    """Return a job of another name that has measured its baseline; ``documents``: the digest found at validation."""
    world = World(spec=spec)
    _validate(world, documents)
    run_to(world, "Train")
    done = job(world.status, **spec)
    return done.model_copy(update={"metadata": {**done.metadata, "name": "first", "uid": "f" * 36}})


def _validate(world: World, documents: str | None) -> None:
    pod = run_to(world, "Validate")
    found = world.honest(pod, validated(documents_digest=documents))
    world.say(pod, found.model_copy(update={"inputs": found.inputs.model_copy(update={"documents": documents})}))


def measured(first: FineTuneJob, outcome: str = "Passed") -> tuple[BaselineResult, str]:
    """Return the result of another job's baseline as its stage gave it, and the configuration that it was given."""
    status, stage = first.status, first.status.stage("Baseline")
    assert status.dataset is not None
    assert stage.config_digest is not None
    read = StageInputs(
        base_model=status.base_model_digest, profile=status.profile_digest, suite=status.suite_digest,
        dataset=status.dataset.digest,
    )  # fmt: skip
    result = baselined(outcome).model_copy(update={"config_digest": stage.config_digest, "inputs": read})
    return result, stage.config_digest


def before_the_baseline(documents: str | None = None, **spec: Any) -> World:
    """Return a world in which the job is validated and nothing else has begun."""
    world = World(spec=spec)
    _validate(world, documents)
    world.sync_jobs()
    world.reconcile()
    assert [stage["state"] for stage in world.status["stages"]][:2] == ["Done", "Waiting"]
    return world


def found_by(world: World, *others: FineTuneJob, settings: Any = SETTINGS) -> FineTuneJob | None:
    seen = world.observe()
    wanted = wanted_baseline(seen, settings)
    return None if wanted is None else measured_by(wanted, seen.job, others)


def test_the_stage_is_done_without_a_pod_and_says_whose_result_it_is() -> None:
    first, world = earlier_job(), before_the_baseline()
    found = found_by(world, first)
    assert found is not None
    stage, repository = found.status.stage("Baseline"), stage_repository(found, "Baseline")
    assert (found.name, repository) == ("first", f"{NAMESPACE}/first-ffffffff")
    assert stage.result_digest is not None
    digest = stage.result_digest
    wanted = wanted_baseline(world.observe(), SETTINGS)
    assert wanted is not None
    world.earlier = ReusableBaseline(found.name, repository, wanted, digest, *measured(found), tuple(stage.images))
    world.reconcile()
    assert ("Secret", SECRET) not in world.others, "the credential must be made anew: it has to open the other's place"
    world.settle()

    baseline = next(stage for stage in world.status["stages"] if stage["name"] == "Baseline")
    assert (baseline["state"], baseline["attempt"], baseline["resultDigest"]) == ("Done", 0, digest)
    assert (baseline["repository"], baseline["inputs"]) == (repository, wanted)
    assert "Measured by job first" in baseline["message"]
    assert baseline["images"] == [one.to_dict() for one in stage.images]
    assert [one.digest for one in stage.images] == [sha256(b"Baseline")]
    assert not [name for name in world.history if "baseline" in name]
    told = next(obj for (kind, name), obj in world.others.items() if kind == "ConfigMap" and "evaluate" in name)
    assert json.loads(told["data"]["stage.json"])["baselineRepository"] == repository
    assert world.status["phase"] == "Succeeded"


def test_prompting_that_sufficed_for_the_other_job_ends_this_one_too() -> None:
    world = before_the_baseline()
    result, config = measured(earlier_job(), "PromptingSuffices")
    world.earlier = ReusableBaseline("first", "team/first", sha256(b"inputs"), sha256(b"result"), result, config)
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert "reaches the suite's quality bar" in world.status["message"]
    assert not [name for name in world.history if "baseline" in name]


@pytest.mark.attack(52)
@pytest.mark.parametrize("field", ["config_digest", "suite", "dataset", "profile", "base_model"])
def test_a_result_about_something_else_is_not_taken_over_but_measured_again(field: str) -> None:
    world, (result, config) = before_the_baseline(), measured(earlier_job())
    foreign = {field: sha256(b"foreign")}
    changed = foreign if field == "config_digest" else {"inputs": result.inputs.model_copy(update=foreign)}
    world.earlier = ReusableBaseline(
        "first", "team/first", sha256(b"inputs"), sha256(b"result"), result.model_copy(update=changed), config
    )
    world.settle()
    assert [name for name in world.history if "baseline" in name]
    assert "Measured by" not in str(world.status["stages"])
    assert world.status["phase"] == "Succeeded"


@pytest.mark.parametrize(
    "spec",
    [
        {"baseline": {"prompt": "Answer as JSON."}},
        {"baseline": {"reuse": False}},
        {"method": {"type": "QLoRA", "seed": 3}},
        {"method": {"type": "QLoRA", "developmentFraction": "0.2"}},
    ],
)
def test_another_input_or_the_owners_wish_measures_anew(spec: Json) -> None:
    assert found_by(before_the_baseline(**spec), earlier_job()) is None


def test_documents_are_the_same_by_their_content_and_not_by_their_address() -> None:
    brought, moved = ({"documents": {"uri": f"pvc://data/{folder}"}} for folder in ("manuals", "copies"))
    first = earlier_job(sha256(b"text"), baseline=brought)
    assert found_by(before_the_baseline(sha256(b"text"), baseline=moved), first) is not None
    assert found_by(before_the_baseline(sha256(b"other text"), baseline=brought), first) is None
    assert found_by(before_the_baseline(), first) is None
    assert found_by(before_the_baseline(sha256(b"text"), baseline=brought), earlier_job()) is None


def test_other_hyperparameters_of_training_make_no_difference() -> None:
    assert found_by(before_the_baseline(method={"type": "LoRA", "rank": 8}), earlier_job()) is not None


def test_another_program_measures_anew() -> None:
    newer = replace(SETTINGS, trainer_image="registry.example/tunegate/trainer@sha256:" + "2" * 64)
    assert found_by(before_the_baseline(), earlier_job(), settings=newer) is None


def test_the_job_itself_is_no_earlier_job_and_one_that_began_measures_on() -> None:
    world = before_the_baseline()
    assert found_by(world, job(world.status)) is None
    run_to(world, "Baseline")
    assert wanted_baseline(world.observe(), SETTINGS) is None


def test_of_several_the_newest_is_taken_and_its_source_is_passed_on() -> None:
    old, new = earlier_job(), earlier_job()
    stages = [
        stage.model_copy(update={"completion_time": "2026-12-01T00:00:00Z", "repository": "team/source"})
        if stage.name == "Baseline"
        else stage
        for stage in new.status.stages
    ]
    status = new.status.model_copy(update={"stages": stages})
    new = new.model_copy(update={"metadata": {**new.metadata, "name": "second", "uid": "e" * 36}, "status": status})
    found = found_by(before_the_baseline(), old, new)
    assert found is not None
    assert (found.name, stage_repository(found, "Baseline")) == ("second", "team/source")
