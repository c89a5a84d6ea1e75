"""The planner of a BaseModel: one attempt after the other until there is a verdict, which is final."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import HUB_SOURCE, make_basemodel
from tunegate.api.basemodel import BaseModel
from tunegate.api.conditions import rfc3339
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.results import HashResult, StageInputs
from tunegate.digests import manifest_digest
from tunegate.reconcile.attempt.attempt import Attempt
from tunegate.reconcile.attempt.lost_result import LostResult
from tunegate.reconcile.catalogue.basemodel import MAX_ATTEMPTS, Observed, attempt_labels, plan
from tunegate.reconcile.naming import attempt_job_name
from tunegate.settings import Settings

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
UID = "0a1b2c3d-0000-0000-0000-000000000000"
SETTINGS = Settings(trainer_image="trainer@sha256:1", operator_image="operator", registry_host="registry:5000")
DIGEST = "sha256:" + "a" * 64
MANIFEST = Manifest(files=[FileEntry(path="model.safetensors", size=7, sha256="b" * 64)])
CONFIG = "sha256:" + "c" * 64
PASSED = HashResult(
    outcome="Passed", manifest=MANIFEST, manifest_digest=manifest_digest(MANIFEST), bytes=7, parameters=3, seconds=1.0,
    config_digest=CONFIG, inputs=StageInputs(base_model=manifest_digest(MANIFEST)),
)  # fmt: skip


def observed(*attempts: Attempt, status: Json | None = None, spec: Json | None = None, **changes: Any) -> Observed:
    raw = make_basemodel(**(spec or {}))
    raw["metadata"] |= {"uid": UID, "generation": 1}
    raw["status"] = status or {}
    fields: Json = {
        "raw": raw,
        "model": BaseModel.model_validate(raw),
        "claim_exists": True,
        "attempts": attempts,
        "results": {},
        "docker_config": "{}",
    }
    return Observed(**fields | changes)


def attempt(
    number: int, *, exit_code: int | None = 0, digest: str | None = None, running: bool = False, age: float = 0
) -> Attempt:
    """Return an attempt that runs, or whose pod ended so many seconds ago."""
    name = attempt_job_name("base", "Hash", number, UID)
    labels = attempt_labels("base", number)
    ended = rfc3339(NOW - timedelta(seconds=age))
    condition = {"type": "Failed" if exit_code else "Complete", "status": "True", "lastTransitionTime": ended}
    stage = {"name": "stage", "args": ["--config", "/etc/stage.json", "--config-digest", CONFIG]}
    job = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"template": {"spec": {"containers": [stage]}}},
        "status": {"conditions": [] if running else [condition]},
    }
    message = json.dumps({"reason": "Completed", "resultDigest": digest}) if digest else ""
    state: Json = {"running": {}} if running else {"terminated": {"exitCode": exit_code, "message": message}}
    phase = "Running" if running else "Failed" if exit_code else "Succeeded"
    pod = {
        "metadata": {"name": f"{name}-x", "labels": labels},
        "status": {"phase": phase, "containerStatuses": [{"name": "stage", "state": state}]},
    }
    return Attempt("Hash", number, job, (pod,))


def test_a_missing_claim_is_named_and_nothing_is_started() -> None:
    made = plan(observed(claim_exists=False), SETTINGS, NOW)

    assert made.status is not None
    assert ("Pending", "WaitingForVolume") == (made.status["phase"], made.status["conditions"][0]["reason"])
    assert "PersistentVolumeClaim models is not in namespace tunegate-system" in made.status["message"]
    assert () == made.creates
    assert made.requeue_after is not None


def test_the_first_attempt_reads_the_named_folder_read_only() -> None:
    made = plan(observed(), SETTINGS, NOW)

    assert ["Secret", "ConfigMap", "Job"] == [obj["kind"] for obj in made.creates]
    config = json.loads(made.creates[1]["data"]["stage.json"])
    assert ("/mnt/base/smollm2", "catalogue/base") == (config["path"], config["registry"]["repository"])
    pod = made.creates[2]["spec"]["template"]["spec"]
    (volume,) = [v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert {"claimName": "models", "readOnly": True} == volume
    assert all(obj["metadata"]["ownerReferences"][0]["uid"] == UID for obj in made.creates)
    assert ["Hashing"] == [note.reason for note in made.events]


MIRRORED: Json = {"source": HUB_SOURCE, "hub": {"secretName": "hub-reader"}}


def test_no_mirror_is_asked_that_nobody_named() -> None:
    made = plan(observed(spec=MIRRORED, claim_exists=False), SETTINGS, NOW)

    assert made.status is not None
    assert ("Pending", "WaitingForMirror") == (made.status["phase"], made.status["conditions"][0]["reason"])
    assert "hubMirror.endpoint in the chart's values, or" in made.status["message"]
    assert () == made.creates
    assert made.requeue_after is not None


@pytest.mark.parametrize("own", [None, "https://own.example"])
def test_a_model_of_a_mirror_is_copied_and_hashed(own: str | None) -> None:
    spec = {**MIRRORED, "hub": {**MIRRORED["hub"], **({"endpoint": own} if own else {})}}
    settings = SETTINGS.model_copy(update={"hub_endpoint": "https://hub.example"})
    made = plan(observed(spec=spec, claim_exists=False), settings, NOW)

    stage, copy = (json.loads(made.creates[1]["data"][name]) for name in ("stage.json", "copy-model.json"))
    assert (own or "https://hub.example", "/mnt/base/tiny-1b") == (copy["endpoint"], stage["path"])
    assert copy.get("manifest") is None
    pod = made.creates[2]["spec"]["template"]["spec"]
    assert ["copy-model"] == [container["name"] for container in pod["initContainers"]]
    assert not [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert {"secretName": "hub-reader", "optional": True} in [volume.get("secret") for volume in pod["volumes"]]


def test_a_running_attempt_is_left_alone() -> None:
    made = plan(observed(attempt(1, running=True)), SETTINGS, NOW)

    assert ((), ()) == (made.creates, made.deletes)
    assert made.status is not None
    assert (1, "Hashing") == (made.status["attempts"], made.status["phase"])


def test_a_verdict_makes_the_model_ready_with_what_was_found() -> None:
    made = plan(observed(attempt(1, digest=DIGEST), results={DIGEST: PASSED}), SETTINGS, NOW)

    assert made.status is not None
    assert "Ready" == made.status["phase"]
    assert PASSED.manifest_digest == made.status["manifestDigest"]
    assert (DIGEST, 1, 7, 3) == tuple(made.status[key] for key in ("resultDigest", "files", "bytes", "parameters"))
    assert made.requeue_after is None


@pytest.mark.attack(52)
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"config_digest": DIGEST}, "configDigest"),
        ({"config_digest": None}, "configDigest"),
        ({"inputs": StageInputs()}, "inputs.baseModel"),
        ({"manifest": Manifest(files=[])}, "inputs.baseModel"),
        ({"manifest_digest": DIGEST}, "manifestDigest"),
    ],
)
def test_a_result_about_something_else_makes_no_model_ready(change: Json, field: str) -> None:
    foreign = PASSED.model_copy(update=change)
    made = plan(observed(attempt(1, digest=DIGEST), results={DIGEST: foreign}), SETTINGS, NOW)

    assert made.status is not None
    assert "Hashing" == made.status["phase"]
    assert f"ResultDiffers: its result names another {field}: planned" in made.status["message"]


def test_a_refusal_says_what_was_found_and_what_to_do() -> None:
    finding = Finding(check="files", action="Block", count=1, message="model.bin is a pickle")
    refused = PASSED.model_copy(update={"outcome": "Refused", "findings": [finding]})
    made = plan(observed(attempt(1, digest=DIGEST), results={DIGEST: refused}), SETTINGS, NOW)

    assert made.status is not None
    assert ("Failed", "HashRefused") == (made.status["phase"], made.status["conditions"][0]["reason"])
    assert "model.bin is a pickle" in made.status["message"]
    assert "create a new BaseModel" in made.status["message"]


def test_another_manifest_than_expected_fails_even_if_the_stage_did_not_notice() -> None:
    seen = observed(attempt(1, digest=DIGEST), results={DIGEST: PASSED})
    spec = seen.model.spec.model_copy(update={"expected_manifest_digest": "sha256:" + "c" * 64})
    seen = dataclasses.replace(seen, model=seen.model.model_copy(update={"spec": spec}))
    made = plan(seen, SETTINGS, NOW)

    assert made.status is not None
    assert ("Failed", "DigestMismatch") == (made.status["phase"], made.status["conditions"][0]["reason"])


def test_a_result_that_cannot_be_read_for_now_is_waited_for() -> None:
    made = plan(observed(attempt(1, digest=DIGEST)), SETTINGS, NOW)

    assert made.status is not None
    assert "WaitingForResult" == made.status["conditions"][0]["reason"]
    assert () == made.creates


@pytest.mark.parametrize(("exit_code", "age", "begins"), [(1, 9, False), (1, 11, True), (4, 11, True)])
def test_after_an_error_the_next_attempt_waits(exit_code: int, age: float, begins: bool) -> None:
    made = plan(observed(attempt(1, exit_code=exit_code, age=age)), SETTINGS, NOW)

    assert begins == bool(made.creates)
    if begins:
        assert attempt_job_name("base", "Hash", 2, UID) == made.creates[2]["metadata"]["name"]


@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_pod_or_result_is_answered_by_another_attempt(lost: bool) -> None:
    last = attempt(1, digest=DIGEST, age=60) if lost else Attempt("Hash", 1, attempt(1, age=0).job, ())
    results = {DIGEST: LostResult("the registry does not have it")} if lost else {}

    assert plan(observed(last, results=results), SETTINGS, NOW).creates


def test_bad_input_is_not_tried_again() -> None:
    made = plan(observed(attempt(1, exit_code=3, age=1e6)), SETTINGS, NOW)

    assert made.status is not None
    assert ("Failed", "BadInput") == (made.status["phase"], made.status["conditions"][0]["reason"])


@given(st.integers(1, 5000), st.sampled_from([4, 75]))
def test_an_outage_or_a_preemption_never_uses_up_the_attempts(number: int, exit_code: int) -> None:
    made = plan(observed(attempt(number, exit_code=exit_code, age=301)), SETTINGS, NOW)

    assert made.status is not None
    assert (made.status["phase"], made.status["attempts"]) == ("Hashing", number + 1)
    assert made.creates


@given(st.integers(1, MAX_ATTEMPTS + 2), st.sampled_from([1, 5, 137]))
def test_attempts_end(number: int, exit_code: int) -> None:
    made = plan(observed(attempt(number, exit_code=exit_code, age=1e6)), SETTINGS, NOW)

    assert made.status is not None
    assert (made.status["phase"] == "Failed") == (number >= MAX_ATTEMPTS)
    assert bool(made.creates) == (number < MAX_ATTEMPTS)


def test_a_ready_model_frees_what_its_attempts_left_and_stays() -> None:
    made = plan(observed(attempt(1, digest=DIGEST), status={"phase": "Ready", "attempts": 1}), SETTINGS, NOW)

    assert {"Job", "ConfigMap", "Secret"} == {ref.kind for ref in made.deletes}
    assert made.status is None


@pytest.mark.parametrize("phase", ["Ready", "Failed"])
def test_a_verdict_is_final(phase: str) -> None:
    made = plan(observed(status={"phase": phase}), SETTINGS, NOW)

    assert (None, (), ()) == (made.status, made.creates, made.deletes)


def test_when_all_attempts_were_deleted_the_count_goes_on() -> None:
    made = plan(observed(status={"phase": "Hashing", "attempts": 2}), SETTINGS, NOW)

    assert attempt_job_name("base", "Hash", 3, UID) == made.creates[2]["metadata"]["name"]
