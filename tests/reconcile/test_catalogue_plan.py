"""The planners of kinds that only describe."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders import make_approvalpolicy, make_computepool, make_evaluationsuite, make_finetunejob
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.shared import SuiteTries, SuiteTry
from tunegate.controllers.measurements import Measurements
from tunegate.digests import document_digest
from tunegate.reconcile.catalogue.pools_policies_suites import plan_policy, plan_pool, plan_suite
from tunegate.reconcile.measurements import UnusableQuestions, measurements_of
from tunegate.reconcile.plan import Plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Json = dict[str, Any]
NO_DIGEST = "sha256:" + "0" * 64


def schema(content: Json) -> Json:
    return {"type": "Extraction", "jsonSchema": json.dumps(content)}


def node(*, ready: bool = True, cordoned: bool = False, devices: int = 0) -> Json:
    return {
        "metadata": {"name": "n"},
        "spec": {"unschedulable": cordoned},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
            "allocatable": {"cpu": "2"} | ({"nvidia.com/gpu": str(devices)} if devices else {}),
        },
    }


def status_of(plan: Plan) -> Json:
    assert plan.status is not None
    return dict(plan.status)


def test_a_pool_counts_ready_nodes_and_their_devices() -> None:
    pool = ComputePool.model_validate(make_computepool(deviceResource="nvidia.com/gpu", devicesPerNode=4))
    nodes = [
        node(devices=8),
        node(devices=2),
        node(ready=False, devices=8),
        node(cordoned=True, devices=8),
    ]
    status = status_of(plan_pool(pool, nodes, [], NOW))

    assert ("Ready", 2, 6) == (status["phase"], status["nodes"], status["devices"])
    assert "Not ready or cordoned: 2 more." in status["message"]


def test_a_pool_shows_what_trainings_measured_on_it() -> None:
    raw = make_computepool()
    raw["metadata"]["creationTimestamp"] = "2025-12-01T00:00:00Z"
    done = make_finetunejob("done")
    done["metadata"]["uid"] = "u"
    train = {"name": "Train", "state": "Done", "completionTime": "2025-12-31T00:00:00Z"}
    terms = {"name": "pool", "pricePerDeviceHour": "0", "currency": "USD"}
    done["status"] = {"throughput": "9.5", "pool": terms, "stages": [train]}

    plan = plan_pool(
        ComputePool.model_validate(raw),
        [node()],
        [one.run for one in [measurements_of(done)] if one is not None and one.run is not None],
        NOW,
    )

    assert status_of(plan)["throughputs"] == [
        {
            "method": "LoRA", "runs": 1, "last": "9.5", "median": "9.5",
            "recent": [{"jobUid": "u", "time": "2025-12-31T00:00:00Z", "value": "9.5"}],
        }
    ]  # fmt: skip


def test_a_pool_whose_nodes_lack_the_device_is_empty_and_says_which_device() -> None:
    pool = ComputePool.model_validate(make_computepool(deviceResource="nvidia.com/gpu"))
    status = status_of(plan_pool(pool, [node()], [], NOW))

    assert ("Empty", 1, 0) == (status["phase"], status["nodes"], status["devices"])
    assert "none offers nvidia.com/gpu" in status["message"]


def test_a_pool_without_nodes_is_empty() -> None:
    pool = ComputePool.model_validate(make_computepool(nodeSelector={"gpu": "a100"}))

    assert ("Empty", "NoNodes") == (
        status_of(plan_pool(pool, [], [], NOW))["phase"],
        status_of(plan_pool(pool, [], [], NOW))["conditions"][0]["reason"],
    )


def test_a_policy_carries_the_digest_of_its_full_content() -> None:
    policy = ApprovalPolicy.model_validate(make_approvalpolicy())
    other = ApprovalPolicy.model_validate(make_approvalpolicy(minMargin="0.06"))

    digests = [status_of(plan_policy(each, NOW))["digest"] for each in (policy, other)]

    assert digests == [document_digest(policy.spec.to_dict()), document_digest(other.spec.to_dict())]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": {"type": "Extraction", "jsonSchema": "{type: object}"}}, "task.jsonSchema: not JSON (Expecting property name"),
        ({"task": {"type": "Extraction", "jsonSchema": "[]"}}, "task.jsonSchema: not a JSON object"),
        ({"task": {"type": "Extraction", "jsonSchema": "[" * 9000}}, "task.jsonSchema: not JSON"),
        ({"task": {"type": "Extraction", "jsonSchema": '{"type": "objekt"}'}}, 'task.jsonSchema: type "objekt" is none of'),
        (
            {"task": {"type": "Extraction", "jsonSchema": '{"properties": {"a": {"items": {"type": ["string", "text"]}}}}'}},
            'task.jsonSchema: type "text" is none of',
        ),
        ({"baselines": {"regex": "(?P<due", "regexTemplate": "{due}"}}, "baselines.regex: missing >, unterminated name"),
        ({"baselines": {"regex": "(" * 2000, "regexTemplate": "x"}}, "baselines.regex: "),
        ({"baselines": {"regex": "a{99999999999}", "regexTemplate": "x"}}, "baselines.regex: groups or repetitions"),
        ({"baselines": {"regex": "(?P<due>a)", "regexTemplate": "{total}"}}, "baselines.regexTemplate: only named groups"),
        ({"baselines": {"regex": "(?P<due>a)", "regexTemplate": '{"due": 1'}}, "baselines.regexTemplate: "),
        ({"primaryMetric": {"name": "MacroF1"}, "task": {"type": "Generation"}}, "primaryMetric: MacroF1 needs task.labels"),
        ({"task": schema({"properties": 5})}, "task.jsonSchema: properties must be an object of schemas by name"),
        ({"task": schema({"anyOf": []})}, "task.jsonSchema: anyOf must be a list of at least one schema"),
        ({"task": schema({"enum": []})}, "task.jsonSchema: enum must be a list of at least one value"),
        ({"task": schema({"required": "a"})}, "task.jsonSchema: required must be a list of texts"),
        ({"task": schema({"maxLength": "5"})}, "task.jsonSchema: maxLength must be a whole number from 0 on"),
        ({"task": schema({"minLength": 9, "maxLength": 5})}, "task.jsonSchema: minLength 9 is above maxLength 5: nothing is valid"),
        ({"task": schema({"properties": {"a": {"pattern": "("}}})}, "task.jsonSchema: the pattern '(' is no regular expression"),
        ({"task": schema({"items": [{"type": "text"}]})}, ", at items/0"),
        ({"task": schema({"properties": {"a": 5}})}, "a schema is an object, or true or false, at properties/a"),
        ({"task": schema({"$ref": "https://example.org/schema"})}, "task.jsonSchema: a $ref to another document"),
        ({"task": schema({"$ref": "#/$defs/none"})}, "task.jsonSchema: $ref '#/$defs/none' leads to no part of the schema"),
        (
            {"task": schema({"properties": {"a": {}}, "required": ["b"], "additionalProperties": False})},
            "task.jsonSchema: required names 'b', which properties does not and additionalProperties forbids",
        ),
        ({"task": {"type": "Classification", "labels": ["MIT", "mit."]}}, "task.labels: 'MIT' and 'mit.' are the same"),
        ({"task": {"type": "Classification", "labels": ["MIT", " . "]}}, "task.labels: ' . ' has no letters"),
        (
            {"task": {"type": "Classification", "labels": ["MIT"], "jsonSchema": "{}"}},
            "task.labels: 'MIT' is not JSON, which task.jsonSchema asks for",
        ),
        (
            {"task": schema({}), "baselines": {"regex": "(?P<due>a)", "regexTemplate": "due: {due}"}},
            "baselines.regexTemplate: filled in it is no JSON, which task.jsonSchema asks for: 'due: 1'",
        ),
        ({"qualityBar": 0}, "qualityBar: every answer reaches 0"),
        ({"primaryMetric": {"name": "ExactMatch", "margin": 1}}, "primaryMetric.margin: no gain reaches 1"),
        ({"data": {"uri": "pvc://data/../suite.jsonl", "digest": NO_DIGEST}}, "data.uri: pvc://data/../suite.jsonl is no plain path"),
        ({"data": {"uri": "pvc://data/suite.json", "digest": NO_DIGEST}}, "data.uri: suite.json is no file of rows"),
        ({"guardrails": [{"name": "SchemaValidity"}], "task": {"type": "Generation"}}, "guardrails: SchemaValidity needs task"),
    ],
)  # fmt: skip
def test_a_suite_that_cannot_be_asked_is_not_ready_and_says_which_field(changes: dict[str, Any], reason: str) -> None:
    suite = EvaluationSuite.model_validate(make_evaluationsuite(**changes))

    status = status_of(plan_suite(suite, SuiteTries(), NOW))

    condition = status["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "BadInput")
    assert reason in condition["message"]
    assert status["digest"] == document_digest(suite.spec.to_dict())


@pytest.mark.parametrize(
    "content",
    [
        {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
        {
            "$defs": {"item": {"type": ["string", "null"]}},
            "type": "array",
            "items": {"$ref": "#/$defs/item"},
            "minItems": 1,
        },
        {
            "type": "object",
            "properties": {"next": {"$ref": "#"}},
            "patternProperties": {"^x": True},
            "additionalProperties": False,
        },
        {"anyOf": [{"const": 1}, {"enum": [None, "a"]}], "not": False, "title": "any", "unknown keyword": 5},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1.5, "multipleOf": 0.1},
    ],
)
def test_a_schema_that_is_one_is_accepted(content: Json) -> None:
    suite = EvaluationSuite.model_validate(make_evaluationsuite(task=schema(content)))

    assert status_of(plan_suite(suite, SuiteTries(), NOW))["conditions"][0]["status"] == "True"


def test_a_suite_tells_the_tries_on_its_questions() -> None:
    suite = EvaluationSuite.model_validate(make_evaluationsuite())
    newest = [SuiteTry(time="2026-11-03T10:00:00Z", job="a", requested_by="erin", suite="suite", outcome="Fail")]
    tries = SuiteTries(total=7, newest=newest)

    status = status_of(plan_suite(suite, tries, NOW))

    assert status["tries"] == tries.to_dict()
    assert status["message"] == "Tries on these questions: 7: 6 earlier, erin 2026-11-03 Fail."


UNUSABLE = UnusableQuestions(
    "suite", "sha256:0", "its questions: the data has digest A, promised was B", "job", "2026-01-01T00:00:00Z"
)


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status_of(plan)["conditions"]}


def test_a_suite_whose_questions_others_cannot_read_is_warned_in_its_own_status() -> None:
    suite = EvaluationSuite.model_validate(make_evaluationsuite())

    warned = plan_suite(suite, SuiteTries(), NOW, unread="PersistentVolumeClaim data does not exist")

    assert conditions(warned) == {
        "Ready": ("True", "DigestRecorded"), "QuestionsCompared": ("False", "QuestionsUnreadable"),
    }  # fmt: skip
    assert "Warning: Other jobs may be trained on these questions" in status_of(warned)["message"]
    assert conditions(plan_suite(suite, SuiteTries(), NOW))["QuestionsCompared"] == ("True", "QuestionsReadable")


def test_a_suite_whose_file_is_not_the_frozen_one_is_not_ready_unless_it_judged_before() -> None:
    suite = EvaluationSuite.model_validate(make_evaluationsuite())

    found = plan_suite(suite, SuiteTries(), NOW, unusable=UNUSABLE)

    assert conditions(found)["Ready"] == ("False", "DigestMismatch")
    assert (
        "data: job job looked at pvc://data/gate.jsonl: its questions: the data has digest A"
        in status_of(found)["message"]
    )
    assert conditions(plan_suite(suite, SuiteTries(total=1), NOW, unusable=UNUSABLE))["Ready"][0] == "True"


def test_what_validations_found_wrong_with_a_suite_is_kept_by_its_spec_and_the_newest_counts() -> None:
    known = Measurements()

    def ended(name: str, time: str, problem: str) -> Json:
        raw = make_finetunejob(name)
        raw["metadata"]["uid"] = name
        stages = [{"name": "Validate", "state": "Done", "completionTime": time}]
        told = [{"name": "gate", "digest": NO_DIGEST, "problem": problem}]
        return {**raw, "status": {"stages": stages, "unusableSuites": told}}

    for one in (ended("b", "2026-01-02T00:00:00Z", "newer"), ended("a", "2026-01-01T00:00:00Z", "older")):
        known.note(one)
    namespace = make_finetunejob("a")["metadata"]["namespace"]

    newest = known.unusable(namespace, "gate", NO_DIGEST)
    assert newest is not None
    assert (newest.job, newest.problem) == ("b", "newer")
    assert known.unusable(namespace, "gate", "sha256:1") is None, "another suite of that name"
    known.note(ended("b", "2026-01-02T00:00:00Z", "newer"), deleted=True)
    oldest = known.unusable(namespace, "gate", NO_DIGEST)
    assert (oldest and oldest.job) == "a"
