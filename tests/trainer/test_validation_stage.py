"""The validate stage on the real model: a good job passes with numbers, every kind of bad one is refused with a reason."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.builders import DIGEST
from tests.support.stage_process import REPOSITORY, Pod, base_model_input, stage_base, write_rows
from tunegate import digests
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.datachecks import DEFAULTS, REDACTABLE, CheckSetting, effective
from tunegate.api.datastatement import DataStatement
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Budget, Economics, Intent, Method
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stage.configs import (
    DataOrigin,
    DatasetInput,
    DocumentsInput,
    FurtherSuite,
    LearnedThroughput,
    SuiteInput,
    ValidateConfig,
)
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.layout import DATA_PAGE_MEDIA_TYPE, DATA_STATEMENT_MEDIA_TYPE, REDACTED_FILE
from tunegate.api.stage.results import ValidateResult
from tunegate.registry.client import RegistryClient
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Measured, Meter
from tunegate_trainer.checks.scan import scan
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.data.conversations import ChatTokenizer
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.documents import load_documents
from tunegate_trainer.evaluation.questions import load_training
from tunegate_trainer.progress import ProgressBoard
from tunegate_trainer.validation import examine

pytestmark = pytest.mark.model

SECRET = "zebra-4711"
PROFILE = EngineProfile(image="registry/engine@sha256:" + "0" * 64, device="CPU", max_model_len=512, max_lora_rank=16)
POOL = ComputePoolSpec(
    device_memory="6Gi", throughput="20", price_per_device_hour="2", max_nodes=1, cleared_for=["Public"]
)
ORIGIN = DataOrigin(
    uri="pvc://data/rows.jsonl", source="made up", license="CC0-1.0", classification="Public", steward="erin"
)
METHOD: dict[str, Any] = {"type": "QLoRA", "maxLength": 256, "batchSize": 8, "epochs": 3, "developmentFraction": "0.1"}


def example(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"Find the holder: Copyright {1900 + number} {SECRET} holder {number}"},
            {"role": "assistant", "content": json.dumps({"holder": f"{SECRET} {number}"})},
        ],
        "holder": f"h{number // 2}",
    }


Validate = Callable[..., ValidateResult]


def make_config(
    folder: Path, model: Path, rows: list[Any], questions: list[Any] | None = None, **changes: Any
) -> ValidateConfig:
    data = folder / "rows.jsonl"
    group_field = changes.pop("group_field", "holder")
    data.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    suite = write_rows(folder / "suite.jsonl", questions or [example(number) for number in range(5000, 5060)])
    spec = EvaluationSuiteSpec.model_validate(
        {
            "data": {"uri": "pvc://data/suite.jsonl", "digest": digests.file_digest(suite), "groupField": "holder"},
            "task": {"type": "Extraction", "maxTokens": 64},
            "primaryMetric": {"name": "ExactMatch"},
        }
    )
    method = Method.model_validate({**METHOD, **changes.pop("method", {})}) if "import_path" not in changes else None
    return ValidateConfig(
        **stage_base("127.0.0.1:1"),
        base_model=base_model_input(model),
        profile=PROFILE,
        dataset=changes.pop("dataset", DatasetInput(path=str(data), group_field=group_field)),
        suite=SuiteInput(name="s", path=str(suite), digest=digests.document_digest(spec.to_dict()), spec=spec),
        intent=Intent(task_type=changes.pop("task_type", "Format"), problem=changes.pop("problem", "Behavior")),
        method=method,
        pool=changes.pop("pool", POOL),
        origin=ORIGIN,
        budget=changes.pop("budget", Budget()),
        **changes,
    )


@pytest.fixture
def validate(base_model: Path, tmp_path: Path) -> Validate:
    """Run the stage in this process: loading the libraries once is most of its time."""
    run, workspace = tmp_path / "run", tmp_path / "workspace"
    run.mkdir()
    workspace.mkdir()
    everywhere = Places(**dict.fromkeys(Places.__dataclass_fields__, tmp_path))
    places = dataclasses.replace(everywhere, workspace=workspace, run=run)

    def call(rows: list[Any], questions: list[Any] | None = None, **changes: Any) -> ValidateResult:
        config = make_config(tmp_path, base_model, rows, questions, **changes)
        context = StageContext(places, None, ProgressBoard("validate"))  # type: ignore[arg-type]
        return examine(config, context).result

    return call


ROWS = [example(number) for number in range(1, 241)]


def findings(result: ValidateResult, action: str = "Block") -> dict[str, list[str]]:
    return {finding.check: finding.rows for finding in result.findings if finding.action == action}


def test_a_good_job_passes_with_its_numbers(validate: Validate) -> None:
    result = validate(ROWS)

    assert result.outcome == "Passed", result.findings
    assert (result.rows, result.suite_questions) == (240, 60)
    assert result.training_rows + result.development_rows == 240
    assert 20 <= result.development_rows <= 28
    assert (result.trainable_parameters, result.total_parameters) == (4_884_480, 134_515_008)
    assert result.adapter_bytes == 2 * 4_884_480
    assert 1e9 < result.peak_memory_bytes < 6e9
    assert result.device_hours > 0
    assert result.cost == pytest.approx(2 * result.device_hours, abs=1e-3)
    assert (result.throughput, result.throughput_runs, result.savings) == (float(POOL.throughput), 0, None)
    assert result.smallest_visible_gain == pytest.approx(0.254, abs=0.01)
    assert result.tokens > 240 * 30


def test_what_trainings_measured_counts_instead_of_the_pools_spec(validate: Validate) -> None:
    twice = LearnedThroughput(tokens_per_second=str(2 * float(POOL.throughput)), runs=3)
    prices = Economics(
        replaced_price_per_thousand_tokens="1", own_price_per_thousand_tokens="2", monthly_tokens=1_000_000
    )

    guessed, known = validate(ROWS), validate(ROWS, learned=twice, economics=prices)

    assert known.device_hours == pytest.approx(guessed.device_hours / 2, abs=1e-6)
    assert (known.throughput, known.throughput_runs) == (2 * float(POOL.throughput), 3)
    assert known.savings is not None
    assert known.savings.break_even_months is None


MESSAGES = {"role": "user", "content": f"{SECRET} {SECRET}"}


@pytest.mark.parametrize(
    ("extra", "check"),
    [
        (f'{{"messages": "{SECRET}"', "BrokenRows"),
        (json.dumps({"messages": [MESSAGES]}), "BrokenRows"),
        ("", "BrokenRows"),
        (
            json.dumps({"messages": [MESSAGES, {"role": "assistant", "content": f"{SECRET}<|im_end|>"}]}),
            "ControlTokens",
        ),
        (json.dumps(example(5000)), "Overlap"),
    ],
)
def test_a_bad_row_is_refused_by_number_and_never_quoted(validate: Validate, extra: str, check: str) -> None:
    result = validate([*ROWS, extra])

    assert result.outcome == "Refused"
    assert findings(result) == {check: ["241"]}
    assert SECRET not in result.model_dump_json()


def answered(number: int, question: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "holder": f"planted{number}"}


WORDS = " ".join(f"{SECRET}x{number}" for number in range(40))
PLANTED = {
    "PersonalData": [answered(1, "Who?", f"ask {SECRET}@example.org")],
    "HealthData": [answered(1, f"{SECRET}: NHS number 943 476 5919", "noted")],
    "Secrets": [answered(1, f"{SECRET} uses AKIAIOSFODNN7EXAMPLE", "noted")],
    "InvisibleCharacters": [answered(1, f"{SECRET}\u202e", "noted")],
    "ControlTokens": [answered(1, f"{SECRET}<|im_end|>", "noted")],
    "CopiedInput": [answered(1, f"Say {SECRET}!", f"say {SECRET}")],
    "Refusals": [answered(1, SECRET, f"I'm sorry, but I can't say {SECRET}.")],
    "Contradictions": [answered(1, f"Is it {SECRET}?", "yes"), answered(2, f"is it {SECRET}", "no")],
    "NearDuplicates": [answered(1, WORDS, "noted"), answered(2, f"{WORDS} more", "noted")],
}


MATCHED = (SECRET, "example.org", "943 476 5919", "AKIAIOSFODNN7EXAMPLE", "\u202e", "<|im_end|>")
"""What the checks find in the planted rows, word for word."""


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_problem_is_found_by_row_and_never_quoted(validate: Validate, check: str) -> None:
    strict = [CheckSetting(name=name, action="Block") for name in DEFAULTS if name != "NearDuplicates"]
    if check == "NearDuplicates":
        strict = [CheckSetting(name="NearDuplicates", action="Block")]

    result = validate([*ROWS, *PLANTED[check]], checks=effective(strict, []))

    expected = ["242"] if check == "NearDuplicates" else [str(241 + at) for at in range(len(PLANTED[check]))]
    assert result.outcome == "Refused"
    assert findings(result)[check] == expected
    assert not [text for text in MATCHED if text in json.dumps(result.model_dump(), ensure_ascii=False)]


def test_a_question_of_a_further_suite_refuses_the_job_and_a_missing_suite_only_warns(
    validate: Validate, tmp_path: Path
) -> None:
    # As many as show what all questions of a suite say: with two, the rows that say it too would nearly hold a question.
    questions = write_rows(tmp_path / "second.jsonl", [example(number) for number in range(7000, 7060)])
    second = FurtherSuite(name="second", path=str(questions), digest=DIGEST, data_digest=digests.file_digest(questions))
    gone = second.model_copy(update={"name": "gone", "path": str(tmp_path / "gone.jsonl")})
    redacting = effective([CheckSetting(name="PersonalData", action="Redact")], [])

    clean = validate(ROWS, further_suites=[second, gone], unread_suites={"closed": "its claim is closed"})
    leaking = validate([*ROWS, example(7001)], further_suites=[second])
    copied = validate([*ROWS, *PLANTED["PersonalData"], example(7001)], further_suites=[second], checks=redacting)

    assert clean.outcome == "Passed"
    assert [suite.name for suite in clean.compared_suites] == ["s", "second"]
    said = [finding.message for finding in clean.findings if finding.check == "UnreadSuites"]
    assert [("(closed)" in text, "(gone)" in text) for text in said] == [(True, False), (False, True)]
    assert (findings(leaking), leaking.overlap_rows) == ({"Overlap": ["241"]}, 1)
    assert (findings(copied), copied.overlap_rows) == ({"Overlap": ["242"]}, 1)
    assert SECRET not in clean.model_dump_json() + leaking.model_dump_json() + copied.model_dump_json()


def test_a_check_that_is_off_finds_nothing_and_a_share_only_warns(validate: Validate) -> None:
    planted = [*ROWS, *PLANTED["Secrets"], *PLANTED["HealthData"]]
    settings = [
        CheckSetting(name="Secrets", action="Off"), CheckSetting(name="HealthData", action="Block", max_share="0.01"),
        CheckSetting(name="NearDuplicates", action="Off"),
    ]  # fmt: skip

    result = validate(planted, checks=effective(settings, []))

    assert result.outcome == "Passed", result.findings
    assert findings(result, "Warn")["HealthData"] == ["242"]
    assert "Secrets" not in findings(result, "Warn")
    assert (result.near_duplicates, result.overlap_rows) == (None, 0)
    assert result.checks == effective(settings, [])


def test_redacted_data_passes_and_what_was_found_stands_nowhere(
    validate: Validate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planted = [*ROWS, *PLANTED["PersonalData"], *PLANTED["HealthData"], *PLANTED["Secrets"]]
    settings = [CheckSetting(name=name, action="Redact") for name in REDACTABLE]

    with caplog.at_level("DEBUG"):
        result = validate(planted, checks=effective(settings, []))

    kept = tmp_path / "workspace" / REDACTED_FILE
    assert result.outcome == "Passed", result.findings
    assert result.redacted is not None
    assert result.redacted.digest == digests.file_digest(kept) != result.dataset_digest
    assert result.redacted.replaced == {"<AWS_ACCESS_KEY>": 1, "<EMAIL_ADDRESS>": 1, "<UK_PATIENT_NUMBER>": 1}
    redacted = {
        (finding.check, row) for finding in result.findings if finding.action == "Redact" for row in finding.rows
    }
    assert {("PersonalData", "241"), ("HealthData", "242"), ("Secrets", "243")} <= redacted
    everything = kept.read_text() + result.model_dump_json() + caplog.text
    assert not [text for text in MATCHED[1:4] if text in everything]
    training = load_training(
        DatasetInput(path=str(kept), digest=result.redacted.digest, group_field="holder"), tmp_path,
        development_fraction="0.1", seed=Method.model_validate(METHOD).seed,
    )  # fmt: skip
    assert len(training.rows) == result.training_rows


def test_a_folder_of_shards_in_another_form_is_the_same_data(validate: Validate, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    rows = [
        {"prompt": row["messages"][0]["content"], "completion": row["messages"][1]["content"], "holder": row["holder"]}
        for row in ROWS
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:100]), folder / "a.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in [*rows[100:], {"prompt": SECRET, "completion": ""}])
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))

    whole = validate(ROWS)
    result = validate(ROWS, dataset=DatasetInput(path=str(folder), group_field="holder"))

    assert (whole.dataset_form, result.dataset_form) == ("Messages", "PromptCompletion")
    assert findings(result) == {"BrokenRows": ["b.jsonl.gz:141"]}
    assert (result.tokens, result.training_rows) == (whole.tokens, whole.training_rows)
    assert sum(result.token_histogram.values()) == 240


def test_processes_find_what_one_process_finds(base_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    planted = [row for rows in PLANTED.values() for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS * 3, *planted, *ROWS]))
    questions = Questions.of([Row(1, tuple(ROWS[5]["messages"]), {})])
    meter = Meter(ChatTokenizer(base_model), frozenset(DEFAULTS), questions, "holder", 17)

    alone, shared = (
        scan_rows(RowStream(find_shards("data set", path)), meter, workers) for workers in (1, 2)
    )  # fmt: skip

    assert alone.rows.tobytes() == shared.rows.tobytes()
    assert (alone.hits, alone.records) == (shared.hits, shared.records)
    assert alone.common.rows.tolist() == shared.common.rows.tolist()
    assert alone.common.samples == shared.common.samples


def scan_rows(stream: RowStream, meter: Meter, workers: int) -> Measured:
    return scan(stream, meter, lambda _: None, workers, worth_sharing=0)


def test_long_rows_are_left_out_or_refused_by_share(validate: Validate) -> None:
    long = example(900)
    long["messages"][0]["content"] = "word " * 400

    few = validate([*ROWS, long])
    many = validate([*ROWS, *([long] * 20)])

    assert (few.outcome, few.rows_too_long, findings(few, "Warn")["TooLong"]) == ("Passed", 1, ["241"])
    assert "TooLong" in findings(many)


def test_copies_and_shared_text_are_pointed_out(validate: Validate) -> None:
    shared = " ".join(f"unusual{number}" for number in range(15))
    rows = [*ROWS, ROWS[0], {**example(950)}]
    rows[-1]["messages"][0]["content"] = f"Look: {shared}"
    question = example(5100)
    question["messages"][0]["content"] = f"Other beginning {shared} other end"

    result = validate(rows, [question, *(example(number) for number in range(5000, 5060))])

    assert result.outcome == "Passed"
    assert (result.duplicates, result.overlap_rows) == (1, 1)
    assert (findings(result, "Warn")["Duplicates"], findings(result, "Warn")["SharedText"]) == (["241"], ["242"])


def test_documents_of_the_baseline_are_read_and_what_is_no_text_ends_the_stage(
    validate: Validate, tmp_path: Path
) -> None:
    manuals = tmp_path / "manuals"
    manuals.mkdir()
    (manuals / "a.md").write_text("Who holds what.")
    found = validate(ROWS, documents=DocumentsInput(path=str(manuals)))
    assert found.outcome == "Passed"
    assert found.documents_digest == load_documents(DocumentsInput(path=str(manuals))).digest
    (manuals / "b.md").write_bytes(b"\xff")
    with pytest.raises(BadInput, match=r"baseline\.documents: b\.md is not UTF-8"):
        validate(ROWS, documents=DocumentsInput(path=str(manuals)))


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"task_type": "DomainVocabulary"}, "MinimumExamples"),
        ({"pool": POOL.model_copy(update={"device_memory": "1Gi"})}, "Memory"),
        ({"budget": Budget(max_device_hours="0.001")}, "Budget"),
        ({"budget": Budget(max_cost="0.001")}, "Budget"),
        ({"problem": "Knowledge"}, "Knowledge"),
        ({"method": {"rank": 32}}, "Profile"),
        ({"method": {"maxLength": 1024}}, "Profile"),
        ({"method": {"numNodes": 2}}, "Nodes"),
    ],
)
def test_what_exceeds_a_limit_is_refused(validate: Validate, changes: dict[str, Any], check: str) -> None:
    result = validate(ROWS, **changes)

    assert result.outcome == "Refused"
    assert set(findings(result)) == {check}


def test_under_a_hundred_examples_are_always_refused(validate: Validate) -> None:
    assert "MinimumExamples" in findings(validate(ROWS[:99], task_type="Style"))


def test_a_question_too_long_for_the_engine_is_refused(validate: Validate) -> None:
    question = example(5000)
    question["messages"][0]["content"] = "word " * 480

    assert "SuiteLength" in findings(validate(ROWS, [question]))


def test_a_question_that_offers_tools_is_refused(validate: Validate) -> None:
    question = {**example(5000), "tools": [{"type": "function", "function": {"name": "find"}}]}

    assert findings(validate(ROWS, [question, example(5001)]))["SuiteTools"] == ["1"]


def test_a_split_that_leaves_nothing_and_a_group_field_that_no_row_has_are_refused(validate: Validate) -> None:
    rows = [{**row, "all": "one group"} for row in ROWS]

    nothing = validate(rows, method={"developmentFraction": "0.9"}, group_field="all")
    nowhere = validate(rows, group_field="owner")

    assert findings(nothing)["TrainingRows"] == []
    assert len(findings(nowhere)["GroupField"]) == 20


def test_an_imported_adapter_of_another_model_is_refused(validate: Validate, tmp_path: Path) -> None:
    from tests.support.model_folder import make_adapter

    result = validate(ROWS, import_path=str(make_adapter(tmp_path / "imported")))

    assert result.outcome == "Refused"
    assert set(findings(result)) == {"BaseModel"}
    assert result.device_hours == 0


def test_the_stage_process_pushes_a_refusal_as_its_verdict(base_model: Path, pod: Pod) -> None:
    config = make_config(pod.folder, base_model, [*ROWS[:50], "{"])

    ending = pod.run(config.model_copy(update=stage_base(pod.host)))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Refused"), ending.log
    assert isinstance(ending.result, ValidateResult)
    assert "1 rows: not JSON" in ending.termination.message
    assert SECRET not in ending.log


def test_the_statement_holds_no_row_and_the_page_shows_rows_that_no_check_found(base_model: Path, pod: Pod) -> None:
    planted = [row for rows in PLANTED.values() for row in rows]
    config = make_config(pod.folder, base_model, [*ROWS, *planted])

    ending = pod.run(config.model_copy(update=stage_base(pod.host)))

    result = ending.result
    assert isinstance(result, ValidateResult), ending.log
    with RegistryClient(pod.host, plain_http=True) as client:
        content = client.pull_document(
            f"{REPOSITORY}/results", result.statement_digest or "", media_type=DATA_STATEMENT_MEDIA_TYPE
        ).decode()
        page = client.pull_document(
            f"{REPOSITORY}/data", result.page_digest or "", media_type=DATA_PAGE_MEDIA_TYPE
        ).decode()
    statement = DataStatement.model_validate_json(content)
    assert (statement.origin, statement.rows_digest, statement.findings) == (
        ORIGIN, result.rows_digest, result.findings,
    )  # fmt: skip
    assert statement.split.training_rows == result.training_rows
    assert not [text for text in MATCHED if text in content]
    # The rows themselves have the word; what makes a planted row one does not stand there.
    assert SECRET in page
    assert not [text for text in MATCHED[1:5] if text in page]
    assert "<code>&lt;|im_start|&gt;</code>assistant\n<mark>{&quot;holder&quot;: " in page
    assert page.count("<mark><code>&lt;|im_end|&gt;</code></mark>") == 5
