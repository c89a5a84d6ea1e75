"""`tunegate plan` with the real tokenizer: the outcome of the stage, as tables, JSON and SARIF."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import builders
from tests.support.plan_files import write_plan_files
from tests.support.registry_process import running_registry
from tests.support.stage_process import make_rows
from tunegate.api.stage.results import ValidateResult
from tunegate.cli.main import main

pytestmark = pytest.mark.model
SECRET = "zebra-4711"


def run(base_model: Path, arguments: list[str], *more: str) -> int:
    return main([*arguments, "--volume", f"models={base_model.parent}", "--quiet", *more])


def test_a_good_job_passes_with_what_it_will_cost(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = {"replacedPricePerThousandTokens": "2", "ownPricePerThousandTokens": "1", "monthlyTokens": 10_000}
    files = write_plan_files(tmp_path, economics=prices)
    assert run(base_model, files) == 0
    shown = capsys.readouterr().out
    assert "job: Passed" in shown
    assert "240 rows (Messages) in 1 file" in shown
    assert "usually 2 to 3 runs" in shown
    assert "as the pool's spec says" in shown
    assert "has paid after    0." in shown

    assert run(base_model, files, "-o", "json") == 0
    result = ValidateResult.model_validate_json(capsys.readouterr().out)
    assert (result.rows, result.suite_questions, result.outcome) == (240, 60, "Passed")
    assert {finding.action for finding in result.findings} == {"Warn"}
    assert run(base_model, files, "--strict") == 1


def test_a_broken_row_is_refused_with_its_line_and_never_quoted(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_plan_files(tmp_path, extra_rows=(f'{{"messages": "{SECRET}"',), budget={"maxCost": "0.000001"})

    assert run(base_model, files, "-o", "sarif") == 1

    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    results = {one["ruleId"]: one for one in json.loads(said.out)["runs"][0]["results"]}
    assert {"BrokenRows", "Budget"} <= {name for name, one in results.items() if one["level"] == "error"}
    place = results["BrokenRows"]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "pvc://data/train.jsonl"}, "region": {"startLine": 241}}


def test_a_job_that_redacts_is_planned_without_leaving_a_copy(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "ada@example.org"}]
    checks = [{"name": "PersonalData", "action": "Redact"}]
    dataset = {**builders.make_finetunejob()["spec"]["dataset"], "checks": checks}
    files = write_plan_files(tmp_path, extra_rows=(json.dumps({"messages": turns}),), dataset=dataset)

    assert run(base_model, files, "-o", "sarif") == 0
    results = {one["ruleId"]: one["level"] for one in json.loads(capsys.readouterr().out)["runs"][0]["results"]}
    assert results["PersonalData"] == "note"
    assert run(base_model, files) == 0
    said = capsys.readouterr()
    assert "redacted digest" in said.out
    assert "ada@example.org" not in said.out + said.err
    assert not list(tmp_path.rglob("*redacted*"))


def test_a_question_of_a_further_suite_of_the_files_is_found_and_a_claim_without_a_folder_named(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_plan_files(tmp_path, extra_rows=(json.dumps(make_rows(1, start=9000)[0]),))

    assert run(base_model, files, "-o", "json") == 1

    result = ValidateResult.model_validate_json(capsys.readouterr().out)
    found = {finding.check: finding for finding in result.findings}
    assert [suite.name for suite in result.compared_suites] == ["suite", "beside"]
    assert (found["Overlap"].action, found["Overlap"].rows) == ("Block", ["241"])
    assert "question of the suite beside" in found["Overlap"].message
    assert "(elsewhere): say where it lies on this machine: --volume nowhere=…" in found["UnreadSuites"].message


def test_documents_on_a_mapped_volume_are_read_and_what_is_none_is_named(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_plan_files(tmp_path, baseline={"documents": {"uri": "pvc://data/manuals"}})
    manuals = tmp_path / "volume" / "manuals"
    manuals.mkdir()
    (manuals / "a.md").write_text("Who holds what.")

    assert run(base_model, files) == 0
    assert "documents digest  sha256:" in capsys.readouterr().out
    (manuals / "scan.pdf").write_text(SECRET)
    assert run(base_model, files) == 1
    said = capsys.readouterr()
    assert "scan.pdf is none of the .md, .markdown, .txt files" in said.err
    assert SECRET not in said.out + said.err


def test_a_suite_of_another_content_is_refused(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_plan_files(tmp_path)
    (tmp_path / "volume" / "gate.jsonl").write_text("{}\n")

    assert run(base_model, files) == 1
    assert "promised was sha256:" in capsys.readouterr().err


def test_a_job_is_planned_without_pushed_questions_that_a_person_may_not_read(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEGATE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.yaml").write_text("{}")
    uris = (f"oci://team/questions/suite@sha256:{'1' * 64}", f"oci://team/questions/beside@sha256:{'2' * 64}")
    files = write_plan_files(tmp_path, pushed=uris)
    assert run(base_model, files) == 0
    told = capsys.readouterr()
    assert "EvaluationSuite suite, the job's own: its questions cannot be read (which registry?" in told.err
    assert "its questions were not read here" in told.out
    with running_registry(tmp_path / "registry", with_password=True) as registry:
        closed = ["--registry", registry.host, "--registry-plain-http", "-o", "json"]
        assert run(base_model, files, *closed) == 0
    told = capsys.readouterr()
    assert "warning" not in told.err
    assert (
        "note: EvaluationSuite suite, the job's own: its questions were pushed, and only people with `get`" in told.err
    )
    assert "rows are not compared with 1 suite of the namespace (beside) here" in told.err
    result = ValidateResult.model_validate_json(told.out)
    assert (result.outcome, result.suite_questions, result.compared_suites) == ("Passed", 0, [])
    unread = [finding.message for finding in result.findings if finding.check == "UnreadSuites"]
    assert ["elsewhere" in message for message in unread] == [True]
