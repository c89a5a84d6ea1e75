"""The validate stage on the real model: a good job passes with numbers, every kind of bad one is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.stage_process import Pod, base_model_input, stage_base, write_rows
from tunegate import digests
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob import Budget, Intent, Method
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stages import DatasetInput, ExitCode, SuiteInput, ValidateConfig, ValidateResult
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.progress import ProgressBoard
from tunegate_trainer.tracking import Tracker
from tunegate_trainer.validation import run

pytestmark = pytest.mark.model

SECRET = "zebra-4711"
PROFILE = EngineProfile(image="registry/engine@sha256:" + "0" * 64, device="CPU", max_model_len=512, max_lora_rank=16)
POOL = ComputePoolSpec(
    device_memory="6Gi", throughput="20", price_per_device_hour="2", max_nodes=1, cleared_for=["Public"]
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
        dataset=DatasetInput(path=str(data), group_field="holder"),
        suite=SuiteInput(name="s", path=str(suite), digest=digests.document_digest(spec.to_dict()), spec=spec),
        intent=Intent(task_type=changes.pop("task_type", "Format")),
        method=method,
        pool=changes.pop("pool", POOL),
        budget=changes.pop("budget", Budget()),
        **changes,
    )


@pytest.fixture
def validate(base_model: Path, tmp_path: Path) -> Validate:
    """Run the stage in this process: loading the libraries once is most of its time."""
    places = Places(*[tmp_path] * 7)

    def call(rows: list[Any], questions: list[Any] | None = None, **changes: Any) -> ValidateResult:
        config = make_config(tmp_path, base_model, rows, questions, **changes)
        tracker = Tracker(None, config.job, tmp_path, tmp_path)
        return run(config, StageContext(places, None, ProgressBoard("validate"), tracker))  # type: ignore[arg-type]

    return call


ROWS = [example(number) for number in range(1, 241)]


def findings(result: ValidateResult, action: str = "Block") -> dict[str, list[int]]:
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
    assert result.smallest_visible_gain == pytest.approx(0.254, abs=0.01)
    assert result.tokens > 240 * 30


MESSAGES = {"role": "user", "content": f"{SECRET} {SECRET}"}


@pytest.mark.parametrize(
    ("extra", "check"),
    [
        (f'{{"messages": "{SECRET}"', "brokenRows"),
        (json.dumps({"messages": [MESSAGES]}), "brokenRows"),
        ("", "brokenRows"),
        (json.dumps({"messages": [MESSAGES, {"role": "assistant", "content": f"{SECRET}<|im_end|>"}]}), "template"),
        (json.dumps(example(5000)), "overlap"),
    ],
)
def test_a_bad_row_is_refused_by_number_and_never_quoted(validate: Validate, extra: str, check: str) -> None:
    result = validate([*ROWS, extra])

    assert result.outcome == "Refused"
    assert findings(result) == {check: [241]}
    assert SECRET not in result.model_dump_json()


def test_long_rows_are_left_out_or_refused_by_share(validate: Validate) -> None:
    long = example(900)
    long["messages"][0]["content"] = "word " * 400

    few = validate([*ROWS, long])
    many = validate([*ROWS, *([long] * 20)])

    assert (few.outcome, few.rows_too_long, findings(few, "Warn")["tooLong"]) == ("Passed", 1, [241])
    assert "tooLong" in findings(many)


def test_copies_and_shared_text_are_pointed_out(validate: Validate) -> None:
    shared = " ".join(f"unusual{number}" for number in range(15))
    rows = [*ROWS, ROWS[0], {**example(950)}]
    rows[-1]["messages"][0]["content"] = f"Look: {shared}"
    question = example(5100)
    question["messages"][0]["content"] = f"Other beginning {shared} other end"

    result = validate(rows, [question, *(example(number) for number in range(5000, 5060))])

    assert result.outcome == "Passed"
    assert (result.duplicates, result.overlap_rows) == (1, 1)
    assert (findings(result, "Warn")["duplicates"], findings(result, "Warn")["sharedText"]) == ([241], [242])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"task_type": "DomainVocabulary"}, "minimumExamples"),
        ({"pool": POOL.model_copy(update={"device_memory": "1Gi"})}, "memory"),
        ({"budget": Budget(max_device_hours="0.001")}, "budget"),
        ({"budget": Budget(max_cost="0.001")}, "budget"),
        ({"method": {"rank": 32}}, "profile"),
        ({"method": {"maxLength": 1024}}, "profile"),
        ({"method": {"numNodes": 2}}, "nodes"),
    ],
)
def test_what_exceeds_a_limit_is_refused(validate: Validate, changes: dict[str, Any], check: str) -> None:
    result = validate(ROWS, **changes)

    assert result.outcome == "Refused"
    assert set(findings(result)) == {check}


def test_under_a_hundred_examples_are_always_refused(validate: Validate) -> None:
    assert "minimumExamples" in findings(validate(ROWS[:99], task_type="Style"))


def test_a_question_too_long_for_the_engine_is_refused(validate: Validate) -> None:
    question = example(5000)
    question["messages"][0]["content"] = "word " * 480

    assert "suiteLength" in findings(validate(ROWS, [question]))


def test_an_imported_adapter_of_another_model_is_refused(validate: Validate, tmp_path: Path) -> None:
    from tests.trainer.model_folder import make_adapter

    result = validate(ROWS, import_path=str(make_adapter(tmp_path / "imported")))

    assert result.outcome == "Refused"
    assert set(findings(result)) == {"baseModel"}
    assert result.device_hours == 0


def test_the_stage_process_pushes_a_refusal_as_its_verdict(base_model: Path, pod: Pod) -> None:
    config = make_config(pod.folder, base_model, [*ROWS[:50], "{"])

    ending = pod.run(config.model_copy(update=stage_base(pod.host)))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Refused"), ending.log
    assert isinstance(ending.result, ValidateResult)
    assert "1 lines: not JSON" in ending.termination.message
    assert SECRET not in ending.log
