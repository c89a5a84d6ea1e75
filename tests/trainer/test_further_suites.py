"""Further suites of the namespace: whose questions rows are compared with, and what is said of a suite that can't be read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.rows import SpaceTokenizer
from tests.support.stage_process import stage_base, write_rows
from tests.support.statements import ORIGIN
from tunegate import digests
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.datachecks import COMPARING, DEFAULTS, CheckSetting, effective
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Intent
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stage.configs import BaseModelInput, DatasetInput, FurtherSuite, SuiteInput, ValidateConfig
from tunegate.api.stage.findings import ComparedSuite
from tunegate.digests import sha256
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data.rows import RowStream, read_sound_rows
from tunegate_trainer.data.shards import find_shards, open_suite
from tunegate_trainer.validation import data_checks
from tunegate_trainer.validation.suites import Compared, compare_with

Json = dict[str, Any]
SECRET = "zebra-4711"
OFF = effective([CheckSetting(name=name, action="Off") for name in COMPARING], [])


def asking(*questions: str) -> list[Json]:
    return [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]} for text in questions
    ]


def further(path: Path, name: str = "other", **changes: Any) -> FurtherSuite:
    digest = digests.file_digest(path) if path.name.endswith(".jsonl") and path.is_file() else sha256(b"nothing")
    facts = {"name": name, "path": str(path), "digest": sha256(name.encode()), "data_digest": digest}
    return FurtherSuite(**{**facts, **changes})


def config(folder: Path, *suites: FurtherSuite, **changes: Any) -> ValidateConfig:
    own = write_rows(folder / "own.jsonl", asking("Own question?"))
    spec = EvaluationSuiteSpec.model_validate(
        {
            "data": {"uri": "pvc://data/own.jsonl", "digest": digests.file_digest(own)},
            "task": {"type": "Extraction"},
            "primaryMetric": {"name": "ExactMatch"},
        }
    )
    nothing = Manifest(files=[])
    return ValidateConfig(
        **stage_base("127.0.0.1:1"),
        base_model=BaseModelInput(
            name="base", path=str(folder), context_length=512, manifest=nothing,
            manifest_digest=digests.manifest_digest(nothing),
        ),
        profile=EngineProfile(image=f"registry/engine@{sha256(b'image')}", device="CPU", max_model_len=512),
        dataset=DatasetInput(path=str(folder / "rows.jsonl")),
        suite=SuiteInput(name="own", path=str(own), digest=digests.document_digest(spec.to_dict()), spec=spec),
        further_suites=list(suites),
        intent=Intent(task_type="Format"),
        pool=ComputePoolSpec(device_memory="6Gi", throughput="20", cleared_for=["Public"]),
        origin=ORIGIN,
        **changes,
    )  # fmt: skip


def compare(told: ValidateConfig) -> Compared:
    with tempfile.TemporaryDirectory() as scratch:
        own, digest = open_suite(told.suite, Path(scratch))
        return compare_with(told, read_sound_rows(own), digest, Path(scratch))


def test_rows_are_compared_with_the_others_where_the_jobs_own_questions_are_not_there(tmp_path: Path) -> None:
    other = further(write_rows(tmp_path / "other.jsonl", asking(f"{SECRET}?")), "other")
    told = config(tmp_path, other)

    compared = compare_with(told, None, told.suite.digest, tmp_path)

    assert [one.name for one in compared.suites] == ["other"]
    assert compared.questions.questions_in("own question") == []
    assert compared.questions.names == ("own", "other")


def test_a_leak_of_a_further_suite_is_found_with_its_name_and_places(tmp_path: Path) -> None:
    long = " ".join(f"{SECRET}x{number}" for number in range(20))
    first = further(write_rows(tmp_path / "first.jsonl", asking("Not asked?")), "first")
    second = further(write_rows(tmp_path / "second.jsonl", asking(f"{SECRET}?", long, "Third?")), "second")
    told = config(tmp_path, first, second)
    rows = write_rows(
        tmp_path / "rows.jsonl",
        asking("Plain?", SECRET, f"before {long} after", "own question", f"so: {' '.join(long.split()[:14])}"),
    )
    stream = RowStream(find_shards("data set", rows))

    compared = compare(told)
    meter = Meter(SpaceTokenizer(), frozenset(DEFAULTS), compared.questions, None, 17)
    facts = data_checks.weigh(meter.measure(list(stream)), "Messages", 1000, meter.checks)
    found = [one for one in data_checks.findings(facts, told.checks, stream) if one.check in COMPARING]

    assert compared.findings == []
    assert compared.suites == [
        ComparedSuite(name="own", digest=told.suite.digest, questions=1),
        ComparedSuite(name="first", digest=first.digest, questions=1),
        ComparedSuite(name="second", digest=second.digest, questions=3),
    ]
    assert sorted((one.check, one.action, one.message.split(":")[0], one.rows) for one in found) == [
        ("Overlap", "Block", "1 row asks or holds a question of the suite own", ["4"]),
        ("Overlap", "Block", "2 rows ask or hold a question of the suite second", ["2", "3"]),
        (
            "SharedText", "Warn", "1 row shares 13 words in a row, or nearly all words, with a question of the suite second, beyond boilerplate",
            ["5"],
        ),
    ]  # fmt: skip
    assert facts.count_if_on(*COMPARING) == 4
    assert not [one for one in found if SECRET in one.model_dump_json()]


def missing(folder: Path) -> FurtherSuite:
    return further(folder / "gate.jsonl")


def changed(folder: Path) -> FurtherSuite:
    return further(write_rows(folder / "gate.jsonl", asking(SECRET)), data_digest=sha256(b"the frozen ones"))


def broken(folder: Path) -> FurtherSuite:
    path = folder / "gate.jsonl"
    path.write_text(f'{json.dumps(asking("Fine?")[0])}\n{{"messages": "{SECRET}"\n')
    return further(path)


def cut_off(folder: Path) -> FurtherSuite:
    path = folder / "gate.jsonl"
    path.touch()
    return further(path)


def foreign(folder: Path) -> FurtherSuite:
    path = folder / "gate.csv"
    path.write_text(SECRET)
    return further(path)


def unreadable(folder: Path) -> FurtherSuite:
    return further(folder / ("n" * 260))


def too_much(folder: Path) -> FurtherSuite:
    return further(write_rows(folder / "gate.jsonl", asking(*(f"{number}{'x' * 3_000_000}" for number in range(3)))))


BROKEN = [
    (missing, "gate.jsonl is not a file"),
    (changed, f"promised was {sha256(b'the frozen ones')}"),
    (broken, "its questions: row 2: not JSON"),
    (cut_off, "gate.jsonl is damaged or cut off"),
    (foreign, "gate.csv is none of .jsonl"),
]


@pytest.mark.parametrize(("made", "says"), BROKEN)
def test_a_suite_whose_questions_are_not_the_frozen_ones_and_that_never_judged_is_no_finding_of_the_job(
    made: Any, says: str, tmp_path: Path
) -> None:
    compared = compare(config(tmp_path, made(tmp_path)))

    assert (compared.findings, [suite.name for suite in compared.suites]) == ([], ["own"])
    (told,) = compared.unusable
    assert (told.name, says in told.problem, SECRET in told.problem) == ("other", True, False)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        *BROKEN,
        (unreadable, "its questions cannot be read (File name too long)"),
        (too_much, "more than 8388608 characters"),
    ],
)
def test_a_suite_that_judged_and_cannot_be_read_is_named_and_ends_nothing(made: Any, says: str, tmp_path: Path) -> None:
    small = further(write_rows(tmp_path / "small.jsonl", asking("Small?")), "small")

    compared = compare(config(tmp_path, made(tmp_path).model_copy(update={"asked": True}), small))

    assert compared.unusable == []
    (finding,) = compared.findings
    assert (finding.check, finding.action, finding.count, finding.rows) == ("UnreadSuites", "Warn", 1, [])
    assert "1 suite of the namespace (other)" in finding.message
    assert says in finding.message
    assert SECRET not in finding.message
    assert [suite.name for suite in compared.suites] == ["own", "small"]
    assert compared.questions.names == ("own", "small")


def test_suites_that_the_pod_was_not_given_are_named_together_by_reason(tmp_path: Path) -> None:
    unread = {"a": "its claim is closed", "b": "too many", "c": "its claim is closed"}

    compared = compare(config(tmp_path, unread_suites=unread))

    assert [(one.count, one.message) for one in compared.findings] == [
        (2, "rows were not compared with 2 suites of the namespace (a, c): its claim is closed"),
        (1, "rows were not compared with 1 suite of the namespace (b): too many"),
    ]


def test_nothing_is_read_or_said_when_no_check_compares(tmp_path: Path) -> None:
    compared = compare(config(tmp_path, missing(tmp_path), unread_suites={"a": "why"}, checks=OFF))

    assert (compared.suites, compared.findings, compared.questions.names) == ([], [], ("own",))
