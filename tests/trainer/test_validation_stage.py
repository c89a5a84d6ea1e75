"""The validate stage on the real model: a good job passes with numbers, and what it writes shows no row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.stage_process import REPOSITORY, Pod, stage_base
from tests.support.validation import METHOD, ORIGIN, POOL, ROWS, SECRET, Validate, example, findings, make_config
from tests.trainer.test_validation_refusals import MATCHED, PLANTED
from tunegate import digests
from tunegate.api.datachecks import DEFAULTS, REDACTABLE, CheckSetting, effective
from tunegate.api.datastatement import DataStatement
from tunegate.api.finetunejob.spec import Economics, Method
from tunegate.api.stage.configs import DatasetInput, DocumentsInput, LearnedThroughput
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.layout import DATA_PAGE_MEDIA_TYPE, DATA_STATEMENT_MEDIA_TYPE, REDACTED_FILE
from tunegate.api.stage.results import ValidateResult
from tunegate.registry.client import RegistryClient
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Measured, Meter
from tunegate_trainer.checks.scan import scan
from tunegate_trainer.data.conversations import ChatTokenizer
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.documents import load_documents
from tunegate_trainer.evaluation.questions import load_training

pytestmark = pytest.mark.model


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
    assert (whole.dataset_files, result.dataset_files, result.rows) == (1, 2, 241)
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


def test_the_stage_process_pushes_a_refusal_as_its_verdict(base_model: Path, pod: Pod) -> None:
    config = make_config(pod.folder, base_model, [*ROWS[:50], "{"])

    ending = pod.run(config.model_copy(update=stage_base(pod.host)))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Refused"), ending.log
    assert isinstance(ending.result, ValidateResult)
    assert "1 row: not JSON" in ending.termination.message
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
