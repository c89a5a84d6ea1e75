"""Everything that the operator refuses a job or a release for, or lets it wait for: `plan` and `create` say it beforehand.

The list is compared with the code: a new reason in the planners has to be entered here, with a job that it stops, or with a sentence
that says why nobody can know it before.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.job.test_job_waits import HASHING, UNLABELLED, data
from tests.job.test_pushed_data import URI, dataset, pushed
from tests.support.builders import make_approvalpolicy, make_evaluationsuite, make_modelserver
from tests.support.job_world import World
from tests.support.stage_documents import SETTINGS, job, world_objects
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.modelserver import ModelServer
from tunegate.cli.job_obstacles import told
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.planner import plan

Json = dict[str, Any]
OPERATOR = Path(__file__).parents[2] / "operator/tunegate"
PLANNERS = [*(OPERATOR / "reconcile/finetunejob").glob("*.py"), OPERATOR / "release/evidence.py"]
TODAY = World().now.date()


def policy(**spec: Any) -> ApprovalPolicy:
    return ApprovalPolicy.model_validate(make_approvalpolicy(**spec))


@dataclass(frozen=True)
class Told:
    """Jobs that are stopped so: both by the planner and by what is told beforehand."""

    cases: tuple[Json, ...]
    """Changes of what is observed; ``spec``: of the job."""


def cases(*changes: Json) -> Told:
    return Told(changes)


@dataclass(frozen=True)
class Elsewhere:
    """Told beforehand by other code, which the named test shows."""

    test: str


@dataclass(frozen=True)
class Later:
    """Nobody can know it before the job or release exists and runs, or may read what decides it."""

    why: str = field(default="")


CUDA = ModelServer.model_validate(
    make_modelserver(
        namespace="team",
        profile={"image": "registry.example/vllm@sha256:" + "0" * 64, "device": "CUDA", "maxModelLen": 512},
    )
)
BUDGET = {"period": "Month", "maxCost": "10", "currency": "CHF"}
BROKEN = EvaluationSuite.model_validate(make_evaluationsuite(baselines={"regex": "(?P<due", "regexTemplate": "{due}"}))
RELEASE = "tests/cli/test_create_on_server.py::test_a_release_of_an_unfit_job_is_warned_of"
POLICY_OF_RELEASE = "tests/cli/test_create_on_server.py::test_what_policy_and_catalogue_will_say_of_a_release_is_told"
FORESEEN: dict[str, Told | Elsewhere | Later] = {
    "budget.over_budget": Later("what other trainings of the period take until this one begins"),
    "budget.never_within": cases({"policy": policy(budget=BUDGET)}),
    "inputs.missing": cases({"policy": None}, {"server": None}, {"suite": None}, {"pool": None}),
    "inputs._base_model": cases({"base_model": None}, {"base_model": HASHING}),
    "inputs._image": Later("the list of engine images is in the chart's values, which people cannot read"),
    "inputs._volumes": cases({"claims": {}}, {"claims": UNLABELLED}),
    "inputs._opened": Later("no program reads Secrets to say whether a store will open"),
    "inputs._device": cases({"server": CUDA}),
    "inputs._rights": cases({"denied": ("computepools/pool",)}),
    "inputs._changed": Later("what is made again under its name while the job runs"),
    "planner._start": cases({"spec": data(expirationDate="2020-12-31")}),
    "pushed.unusable": cases({"spec": {"dataset": dataset()}, "pushed": {URI: None}}),
    "pushed._refused": cases({"spec": {"dataset": dataset()}, "pushed": {URI: pushed(withdrawn_by="stella")}}),
    "pushed._said_otherwise": cases({"spec": {"dataset": dataset()}, "pushed": {URI: pushed(declared={"steward": "zoe"})}}),
    "pushed._unnamed": cases({"spec": {"dataset": dataset()}, "pushed": {URI: pushed(pushed_by="zoe")}}),
    "refusals._requester": cases(
        {"spec": {"requestedBy": {"username": "argocd", "unverified": True}}, "policy": policy(unverifiedRequester="Deny")},
        {"spec": {"requestedBy": {"username": "erin"}}, "policy": policy(identity={"requirePersonId": True})},
    ),
    "refusals._suite": cases({"policy": policy(requiredSuiteRefs=[{"name": "other"}])}, {"suite": BROKEN}),
    "refusals._data_rights": cases(
        {"spec": data(classification="PHI")}, {"policy": policy(requiredRights=["Steward"])},
        {"policy": policy(requiredRights=["Retention"])},
        {"spec": data(license="whatever"), "policy": policy(requiredRights=["SpdxLicense"])},
    ),
    "refusals._limits": cases(
        {"spec": {"method": {"type": "LoRA", "rank": 64}}}, {"spec": {"method": {"type": "LoRA", "numNodes": 9}}},
        {"spec": {"method": {"type": "LoRA", "numProcPerNode": 9}}},
    ),
    "refusals._addresses": cases(
        {"spec": data(uri="pvc://data/../x")}, {"spec": data(uri=f"oci://other/datasets/rows@sha256:{'4' * 64}")}
    ),
    "evidence.job_shortfall": Elsewhere(RELEASE),
    "evidence.assess": Elsewhere(POLICY_OF_RELEASE),
    "evidence._waiting": Elsewhere(POLICY_OF_RELEASE),
    "evidence._misfit": Later("what was made again under its name since the job was judged"),
    "evidence.refusal": Elsewhere(POLICY_OF_RELEASE),
}  # fmt: skip
"""By the function that says it."""


def reasons() -> Iterator[str]:
    """Yield every function of the planners that says why something is refused or waits."""
    for file in PLANNERS:
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef) and any(
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("Blocked", "Shortfall")
                for node in ast.walk(function)
            ):
                yield f"{file.stem}.{function.name}"


def test_every_reason_of_the_planners_is_foreseen_or_said_to_be_known_only_later() -> None:
    assert sorted(set(reasons())) == sorted(FORESEEN)


def test_what_is_known_only_later_says_why_and_what_is_shown_elsewhere_exists() -> None:
    for entry in FORESEEN.values():
        assert not isinstance(entry, Later) or len(entry.why) > 20
        if isinstance(entry, Elsewhere):
            file, _, name = entry.test.partition("::")
            assert f"def {name}(" in (OPERATOR.parents[1] / file).read_text()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (name, number)
        for name, entry in FORESEEN.items()
        if isinstance(entry, Told)
        for number in range(len(entry.cases))
    ],
)
def test_what_stops_a_job_in_the_cluster_is_told_beforehand_in_the_same_words(name: str, number: int) -> None:
    entry = FORESEEN[name]
    assert isinstance(entry, Told)
    facts = {**world_objects(), "today": TODAY.isoformat(), **entry.cases[number]}
    if "pool" in entry.cases[number] and entry.cases[number]["pool"] is None:
        facts["server_pool"] = None
    seen = Observed(job=job(**facts.pop("spec", {})), fresh_credential="{}", **facts)

    beforehand = [blocked.message for blocked in told(seen, date.fromisoformat(TODAY.isoformat()))]

    if name == "budget.never_within":  # the planner asks once validation has said what the training takes
        assert any("is priced in" in message for message in beforehand)
        return
    step = plan(seen, World().now, SETTINGS)
    assert step.status is not None
    assert step.status["phase"] in ("Pending", "Failed")
    assert step.status["message"] in beforehand
