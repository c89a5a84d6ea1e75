"""The other suites of a namespace: which of them validation is given, and that none is ever in a job's way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import make_approvalpolicy, make_evaluationsuite
from tests.support.stage_documents import NAMESPACE, SETTINGS, job, world_objects
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.conditions import Condition
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.status import StageName
from tunegate.api.pushed import Pushed, PushedPlace
from tunegate.api.reasons import CatalogueReason
from tunegate.api.shared import SuiteTries
from tunegate.api.stage.configs import STAGE_CONFIG, Pull, PullDataConfig, ValidateConfig
from tunegate.digests import document_digest, sha256
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.inputs import Inputs, resolve
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.suites import MAX_CLAIMS, MAX_SUITES

Json = dict[str, Any]
OPEN: Json = {"tunegate.io/usable-by-jobs": "true"}
DIGEST = sha256(b"questions")


def suite(name: str, claim: str, path: str = "gate.jsonl") -> EvaluationSuite:
    data = {"uri": f"pvc://{claim}/{path}", "digest": DIGEST}
    return EvaluationSuite.model_validate(make_evaluationsuite(name, NAMESPACE, data=data))


def claim(labels: Json = OPEN, phase: str = "Bound", modes: tuple[str, ...] = ("ReadWriteMany",), **more: Any) -> Json:
    return {
        "metadata": {"labels": labels, **more.pop("metadata", {})}, "spec": more,
        "status": {"phase": phase, "accessModes": list(modes)},
    }  # fmt: skip


def observed(suites: list[EvaluationSuite], claims: Json, **changes: Any) -> Observed:
    facts = {**world_objects(), **changes}
    facts["claims"] = {**facts["claims"], **claims}
    facts.setdefault("other_suites", {one.name: one for one in suites})
    return Observed(job=job(), **facts)


def inputs(seen: Observed) -> Inputs:
    found = resolve(seen)
    assert isinstance(found, Inputs), found
    return found


def made(seen: Observed, stage: StageName = "Validate") -> tuple[ValidateConfig, Json]:
    """Return the configuration of validation, and the pod of the stage."""
    objects = {obj["kind"]: obj for obj in attempt_objects(seen, inputs(seen), SETTINGS, stage, 1)}
    config = STAGE_CONFIG.validate_json(objects["ConfigMap"]["data"]["stage.json"])
    assert isinstance(config, ValidateConfig)
    return config, objects["Job"]["spec"]["template"]["spec"]


def mounts(pod: Json) -> dict[str, tuple[str, bool]]:
    """Return for each folder the claim that lies there, and whether it is read-only in pod and container."""
    volumes = {one["name"]: one["persistentVolumeClaim"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
    return {
        mount["mountPath"]: (
            volumes[mount["name"]]["claimName"], mount["readOnly"] and volumes[mount["name"]]["readOnly"],
        )
        for mount in pod["containers"][0]["volumeMounts"] if mount["name"] in volumes
    }  # fmt: skip


def test_validation_reads_every_suite_of_the_namespace_from_its_claim_and_cannot_write_there() -> None:
    beside, elsewhere = suite("beside", "data", "other/gate.jsonl"), suite("elsewhere", "questions")

    config, pod = made(observed([elsewhere, beside], {"questions": claim(modes=("ReadOnlyMany",))}))

    assert [(one.name, one.path, one.data_digest) for one in config.further_suites] == [
        ("beside", "/mnt/suites/data/other/gate.jsonl", DIGEST),
        ("elsewhere", "/mnt/suites/questions/gate.jsonl", DIGEST),
    ]
    assert config.further_suites[0].digest == document_digest(beside.spec.to_dict())
    assert config.unread_suites == {}
    assert mounts(pod) == {
        "/mnt/base": ("models", True), "/mnt/dataset": ("data", True), "/mnt/suite": ("data", True),
        "/mnt/suites/data": ("data", True), "/mnt/suites/questions": ("questions", True),
    }  # fmt: skip
    assert len([one for one in pod["volumes"] if one.get("persistentVolumeClaim", {}).get("claimName") == "data"]) == 1


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"questions": claim(labels={})}, "not opened for jobs by the label tunegate.io/usable-by-jobs=true"),
        ({"questions": claim(phase="Pending")}, "not bound to a volume"),
        ({"questions": claim(modes=("ReadWriteOnce",))}, "needs the access mode ReadOnlyMany or ReadWriteMany"),
        ({"questions": claim(metadata={"deletionTimestamp": "2026-11-01T00:00:00Z"})}, "being deleted"),
        ({"questions": claim(volumeMode="Block")}, "has no file system"),
    ],
)
def test_a_suite_whose_claim_could_keep_the_pod_from_starting_is_named_and_not_mounted(claims: Json, says: str) -> None:
    config, pod = made(observed([suite("other", "questions")], claims))

    assert config.further_suites == []
    assert says in config.unread_suites["other"]
    assert not [path for path in mounts(pod) if path.startswith("/mnt/suites")]


def test_a_claim_that_the_job_mounts_anyway_needs_no_access_mode_but_its_label() -> None:
    config, _ = made(observed([suite("beside", "data"), suite("hidden", "models")], {}))

    assert [one.name for one in config.further_suites] == ["beside"]
    assert "PersistentVolumeClaim models is not opened for jobs" in config.unread_suites["hidden"]


def tried(one: EvaluationSuite) -> EvaluationSuite:
    """Return the suite as one that a job was judged by."""
    return one.model_copy(update={"status": one.status.model_copy(update={"tries": SuiteTries(total=1)})})


def refused(one: EvaluationSuite) -> EvaluationSuite:
    """Return the suite as one whose text the operator found wrong."""
    time = "2026-01-01T00:00:00Z"
    condition = Condition(
        type="Ready", status="False", reason=CatalogueReason.BAD_INPUT, message="", last_transition_time=time
    )
    return one.model_copy(update={"status": one.status.model_copy(update={"conditions": [condition]})})


@pytest.mark.parametrize(
    "neighbor",
    [
        suite("other", "gone"),
        suite("other", "questions", "../gate.jsonl"),
        refused(suite("other", "questions")),
    ],
)
def test_a_suite_by_which_nobody_can_be_judged_is_in_no_statement_of_others(neighbor: EvaluationSuite) -> None:
    config, _ = made(observed([neighbor], {"questions": claim()}))

    assert (config.further_suites, config.unread_suites) == ([], {})


def test_a_suite_that_once_judged_stays_in_the_statements_of_others_when_it_cannot_be_read() -> None:
    gone, away = tried(suite("gone", "gone")), tried(suite("away", "questions", "../gate.jsonl"))

    config, _ = made(observed([gone, away], {"questions": claim()}))

    assert "gone does not exist" in config.unread_suites["gone"]
    assert "'..'" in config.unread_suites["away"]
    assert [one.asked for one in made(observed([tried(suite("asked", "data")), suite("new", "data")], {}))[0].further_suites] == [
        True, False,
    ]  # fmt: skip


def test_a_suite_that_nobody_understands_is_named() -> None:
    config, _ = made(observed([], {}, other_suites={"strange": None}))

    assert config.further_suites == []
    assert config.unread_suites["strange"] == "this version of Tunegate does not understand it"


def test_suites_and_claims_beyond_the_bounds_are_named() -> None:
    many = [suite(f"s{number:02}", "data", f"{number}.jsonl") for number in range(MAX_SUITES + 2)]
    wide = [suite(f"s{number:02}", f"c{number}") for number in range(MAX_CLAIMS + 2)]
    claims = {f"c{number}": claim() for number in range(MAX_CLAIMS + 2)}

    suites, _ = made(observed(many, {}))
    config, pod = made(observed([*wide, suite("z", "data"), suite("zz", "c0")], claims))

    assert len(suites.further_suites) == MAX_SUITES
    assert suites.unread_suites == dict.fromkeys(
        ("s32", "s33"), "at most 32 further suites are read, the first by name"
    )
    assert [one.name for one in config.further_suites] == [f"s{number:02}" for number in range(MAX_CLAIMS)] + [
        "z",
        "zz",
    ]
    assert set(config.unread_suites) == {"s08", "s09"}
    assert len([path for path in mounts(pod) if path.startswith("/mnt/suites")]) == MAX_CLAIMS + 1


def test_pushed_suites_beyond_those_that_are_read_are_named_though_the_registry_was_not_asked_about_them() -> None:
    uris = {f"s{number:02}": PUSHED.replace("other@", f"s{number:02}@") for number in range(MAX_SUITES + 2)}
    many = [
        pushed_suite(uri).model_copy(update={"metadata": {"name": name, "namespace": NAMESPACE}})
        for name, uri in uris.items()
    ]
    asked = {uri: recorded() for uri in list(uris.values())[1:MAX_SUITES]}  # the first did not answer

    suites, _ = made(observed(many, {}, pushed=asked))

    assert len(suites.further_suites) == MAX_SUITES - 1
    assert "can't be read now" in suites.unread_suites["s00"]
    assert [suites.unread_suites[name] for name in ("s32", "s33")] == [
        "at most 32 further suites are read, the first by name"
    ] * 2


def test_no_suite_is_mounted_where_policy_and_job_compare_rows_with_none() -> None:
    checks = [{"name": "Overlap", "action": "Off"}, {"name": "SharedText", "action": "Off"}]
    policy = ApprovalPolicy.model_validate(make_approvalpolicy(dataChecks=checks))

    config, pod = made(observed([suite("other", "questions")], {"questions": claim()}, policy=policy))

    assert (config.further_suites, config.unread_suites) == ([], {})
    assert "/mnt/suites/questions" not in mounts(pod)


@pytest.mark.parametrize("stage", ["Baseline", "Train"])
def test_only_validation_sees_further_suites(stage: StageName) -> None:
    seen = observed([suite("other", "questions")], {"questions": claim()})

    objects = attempt_objects(seen, inputs(seen), SETTINGS, stage, 1)

    assert "questions" not in str([obj for obj in objects if obj["kind"] == "Job"])


PUSHED = f"oci://{NAMESPACE}/questions/other@sha256:{'5' * 64}"


def pushed_suite(uri: str = PUSHED, tries: int = 0) -> EvaluationSuite:
    made = make_evaluationsuite("other", NAMESPACE, data={"uri": uri, "digest": DIGEST})
    suite = EvaluationSuite.model_validate(made)
    status = suite.status.model_copy(update={"tries": SuiteTries(total=tries, namespace=tries)})
    return suite.model_copy(update={"status": status})


def recorded(**changes: Any) -> Pushed:
    said = {"pushed_by": "eva", "pushed_time": "2026-11-01T00:00:00Z", "files": 1, "bytes": 9, "file": "q.jsonl"}
    return Pushed(place=PushedPlace.of(PUSHED), **{**said, **changes})


def test_pushed_questions_of_others_are_pulled_and_never_in_a_jobs_way() -> None:
    seen = observed([pushed_suite()], {}, pushed={PUSHED: recorded()})
    config, _ = made(seen)
    place = "/mnt/questions/other/q.jsonl"
    assert [(one.name, one.path) for one in config.further_suites] == [("other", place)]
    objects = {obj["kind"]: obj for obj in attempt_objects(seen, inputs(seen), SETTINGS, "Validate", 1)}
    pull = STAGE_CONFIG.validate_json(objects["ConfigMap"]["data"]["download-questions.json"])
    assert isinstance(pull, PullDataConfig)
    assert pull.pulls == [Pull(uri=PUSHED, path=place, required=False)]


@pytest.mark.parametrize(
    ("found", "tries", "says"),
    [
        ({PUSHED: None}, 0, None),
        ({PUSHED: recorded(withdrawn_by="eva")}, 0, None),
        ({PUSHED: None}, 1, "nothing was pushed"),
        ({PUSHED: recorded(withdrawn_by="eva")}, 1, "eva withdrew"),
        ({}, 0, "can't be read now"),
    ],
)
def test_pushed_questions_that_cannot_be_had_are_named_if_the_suite_matters(
    found: Any, tries: int, says: str | None
) -> None:
    config, _ = made(observed([pushed_suite(tries=tries)], {}, pushed=found))
    assert config.further_suites == []
    assert config.unread_suites.keys() == ({"other"} if says else set())
    assert (says or "") in config.unread_suites.get("other", "")
