"""Data in the registry: a job uses it only if it says of it what was declared, and while nobody withdrew it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from tests.support.builders import ENGINEER
from tests.support.job_world import World, condition
from tests.support.stage_documents import SETTINGS, job, world_objects
from tests.support.stage_objects import STAGES, containers, objects
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.pushed import Declaration, Pushed, PushedPlace
from tunegate.api.stage.configs import STAGE_CONFIG, Pull, PullDataConfig
from tunegate.cli.job_obstacles import as_allowed, told
from tunegate.controllers.finetunejob.pushed import pushed_places, pushed_repositories
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.planner import plan

DIGEST = f"sha256:{'4' * 64}"
URI = f"oci://team/datasets/notices@{DIGEST}"
QUESTIONS = f"oci://team/questions/gate@{DIGEST}"
TEXTS = f"oci://team/documents/manuals@{DIGEST}"
DECLARED = {"classification": "Public", "license": "CC-BY-4.0", "source": "licence notices", "steward": "stella"}
Json = dict[str, Any]


def pushed(uri: str = URI, declared: Json | None = None, **changes: Any) -> Pushed:
    said = {
        "declaration": Declaration.model_validate({**DECLARED, **(declared or {})}), "pushed_by": ENGINEER["username"],
        "pushed_time": "2026-11-01T00:00:00Z", "files": 1, "bytes": 100, "file": "rows.jsonl", **changes,
    }  # fmt: skip
    return Pushed(place=PushedPlace.of(uri), **said)


def dataset(**changes: Any) -> Json:
    return {**DECLARED, "uri": URI, **changes}


def planned(found: Mapping[str, Pushed | None], spec: Json | None = None, **facts: Any) -> Any:
    asked = {"dataset": dataset(), **(spec or {})}
    observed = {**world_objects(), "pushed": found, "today": "2026-11-01", **facts}
    return plan(Observed(job=job(**asked), fresh_credential="{}", **observed), World().now, SETTINGS)


def test_a_job_with_pushed_data_starts() -> None:
    assert planned({URI: pushed()}).creates


@pytest.mark.parametrize("stage", STAGES)
def test_the_one_container_that_pulls_runs_first_and_no_secret_of_the_site_is_needed(stage: str) -> None:
    made = objects(stage, dataset=dataset(), workspace={"size": "2Gi"}, pushed={URI: pushed()})
    spec = made["Job"]["spec"]["template"]["spec"]
    if stage == "Seal":
        assert "download.json" not in made["ConfigMap"]["data"]
        return
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["download.json"])
    assert isinstance(config, PullDataConfig)
    assert (config.pulls, config.max_bytes) == ([Pull(uri=URI, path="/mnt/dataset/rows.jsonl")], 2 * 2**30)
    assert spec["initContainers"][0]["name"] == "download"
    assert not [one["name"] for one in spec["volumes"] if one["name"].endswith("-store")]
    writes = {
        one["name"]: [m.get("readOnly") for m in one["volumeMounts"] if m["name"] == "dataset"]
        for one in containers(spec)
    }
    assert (writes["download"], writes["stage"]) == ([False], [True])
    assert json.loads(made["ConfigMap"]["data"]["stage.json"])["dataset"]["path"] == "/mnt/dataset/rows.jsonl"


@pytest.mark.parametrize(
    ("found", "spec", "says"),
    [
        ({URI: None}, {}, "nothing was pushed at"),
        ({URI: pushed(withdrawn_by="stella", withdrawn_time="2026-11-01T08:00:00Z")}, {}, "stella withdrew the data at 2026-11-01"),
        ({URI: pushed(declared={"classification": "PII"})}, {}, "classification is 'Public', but the data was pushed as 'PII'"),
        ({URI: pushed(declared={"license": "LicenseRef-x"})}, {}, "spec.dataset.license is 'CC-BY-4.0'"),
        ({URI: pushed(declared={"steward": "zoe"})}, {}, "spec.dataset.steward is 'stella'"),
        ({URI: pushed(declared={"source": "elsewhere"})}, {}, "spec.dataset.source is"),
        ({URI: pushed(declared={"expiration_date": "2027-01-01"})}, {}, "to be kept until 2027-01-01"),
        (
            {URI: pushed(declared={"expiration_date": "2027-01-01"})},
            {"dataset": dataset(expirationDate="2027-01-02")},
            "spec.dataset.expirationDate of that day or an earlier one",
        ),
        ({URI: pushed(pushed_by="stella")}, {}, "spec.contributors: [{username: stella}]"),
        ({URI: pushed(pushed_by="stella", person_id="p-7")}, {}, "{username: stella, personId: p-7}"),
    ],
)  # fmt: skip
def test_a_job_that_says_otherwise_is_refused_with_the_field(found: Any, spec: Json, says: str) -> None:
    step = planned(found, spec)
    assert step.status["phase"] == "Failed"
    assert says in step.status["message"]
    assert not step.creates


@pytest.mark.parametrize(
    ("found", "spec"),
    [
        (
            {URI: pushed(declared={"expiration_date": "2027-01-01"})},
            {"dataset": dataset(expirationDate="2026-12-31")},
        ),
        ({URI: pushed(pushed_by="stella")}, {"contributors": [{"username": "stella"}]}),
        ({URI: pushed(pushed_by="s", person_id="p-7")}, {"contributors": [{"username": "stella", "personId": "p-7"}]}),
        ({URI: pushed(pushed_by="system:serviceaccount:team:pipeline")}, {}),
    ],
)  # fmt: skip
def test_a_job_that_agrees_starts(found: Any, spec: Json) -> None:
    assert planned(found, spec).creates


def test_documents_are_held_to_withdrawal_retention_and_contributors_too() -> None:
    spec = {"baseline": {"documents": {"uri": TEXTS}}}
    found = {URI: pushed(), TEXTS: pushed(TEXTS, file="manuals.md")}
    assert planned(found, spec).creates
    old = {**found, TEXTS: pushed(TEXTS, declared={"expiration_date": "2026-10-31"})}
    assert "may be kept until 2026-10-31" in planned(old, spec).status["message"]
    gone = {**found, TEXTS: pushed(TEXTS, withdrawn_by="zoe", withdrawn_time="")}
    assert "spec.baseline.documents.uri: zoe withdrew the documents." in planned(gone, spec).status["message"]


def with_questions(uri: str = QUESTIONS) -> EvaluationSuite:
    suite: EvaluationSuite = world_objects()["suite"]
    data = suite.spec.data.model_copy(update={"uri": uri})
    return suite.model_copy(update={"spec": suite.spec.model_copy(update={"data": data})})


def asked(**changes: Any) -> Pushed:
    by = {"declaration": None, "pushed_by": "eva", "pushed_time": "2026-11-01T00:00:00Z", "files": 1, "bytes": 100}
    return Pushed(place=PushedPlace.of(QUESTIONS), **{**by, "file": "gate.jsonl", **changes})


@pytest.mark.parametrize("stage", STAGES)
def test_pushed_questions_are_pulled_for_the_stages_that_ask_them(stage: str) -> None:
    suite = with_questions()
    made = objects(stage, suite=suite, pushed={QUESTIONS: asked()})
    names = [one["name"] for one in made["Job"]["spec"]["template"]["spec"].get("initContainers", [])]
    assert ("download-questions" in names) == (stage in ("Validate", "Baseline", "Evaluate"))
    if "download-questions" not in names:
        return
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["download-questions.json"])
    assert isinstance(config, PullDataConfig)
    place = f"/mnt/questions/{suite.name}/gate.jsonl"
    assert config.pulls == [Pull(uri=QUESTIONS, path=place)]
    assert json.loads(made["ConfigMap"]["data"]["stage.json"])["suite"]["path"] == place


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "`tunegate questions list` shows what was"),
        (asked(withdrawn_by="eva", withdrawn_time="2026-11-01T08:00:00Z"), "eva withdrew the questions at"),
    ],
)
def test_a_job_whose_questions_are_not_there_is_refused(found: Pushed | None, says: str) -> None:
    step = planned({URI: pushed(), QUESTIONS: found}, suite=with_questions())
    assert step.status["phase"] == "Failed"
    assert says in step.status["message"]


def test_the_owner_of_pushed_questions_is_no_contributor() -> None:
    assert planned({URI: pushed(), QUESTIONS: asked()}, suite=with_questions()).creates


@pytest.mark.attack(75)
def test_questions_of_another_namespace_are_not_used() -> None:
    foreign = QUESTIONS.replace("oci://team/", "oci://other/")
    step = planned({URI: pushed(), foreign: asked()}, suite=with_questions(foreign))
    assert step.status["phase"] == "Failed"
    assert "uses what was pushed there only" in step.status["message"]
    assert pushed_repositories(job(), [with_questions(foreign)]) == []


def test_a_credential_opens_the_questions_of_the_suites_that_the_job_reads() -> None:
    assert pushed_repositories(job(), [with_questions()]) == ["team/questions", "team/questions/gate"]


def test_while_the_registry_is_away_a_job_waits() -> None:
    step = planned({})
    assert step.status["phase"] == "Pending"
    assert condition(step.status, "Scheduled")["reason"] == "WaitingForRegistry"
    assert not step.creates


def test_without_a_registry_of_the_chart_pushed_data_is_refused() -> None:
    step = planned({}, takes_pushes=False)
    assert step.status["phase"] == "Failed"
    assert "Use pvc:// or s3://" in step.status["message"]


@pytest.mark.attack(75)
def test_a_job_neither_uses_nor_can_read_what_another_namespace_pushed() -> None:
    foreign = f"oci://other/datasets/notices@{DIGEST}"
    step = planned({foreign: pushed(foreign)}, {"dataset": dataset(uri=foreign)})
    assert step.status["phase"] == "Failed"
    assert "uses what was pushed there only" in step.status["message"]
    assert pushed_places(job(dataset=dataset(uri=foreign))) == []
    assert pushed_repositories(job(dataset=dataset(uri=foreign))) == []


def test_a_jobs_credential_opens_what_it_names_and_no_other_data() -> None:
    both = job(dataset=dataset(), baseline={"documents": {"uri": TEXTS}})
    assert pushed_repositories(both) == [
        "team/datasets", "team/datasets/notices", "team/documents", "team/documents/manuals",
    ]  # fmt: skip
    assert pushed_repositories(job()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "oci://team/datasets/notices:latest", "oci://team/datasets/notices", f"oci://team/notices@{DIGEST}",
        f"oci://team/datasets/a/b@{DIGEST}", f"oci://registry:5000/team/datasets/a@{DIGEST}", f"oci://team/datasets/..@{DIGEST}",
    ],
)  # fmt: skip
def test_no_other_form_of_address_is_read(uri: str) -> None:
    with pytest.raises(ValueError, match="oci://NAMESPACE/datasets/NAME@sha256"):
        PushedPlace.of(uri)


def test_questions_that_a_person_may_not_read_are_no_obstacle_for_them() -> None:
    facts = {**world_objects(), "suite": with_questions()}
    allowed = as_allowed(job(), facts["server"], facts["suite"], list(facts["claims"]))
    assert [one.message for one in told(Observed(**{"job": job(), **facts, **allowed}), date(2026, 11, 1))] == []
