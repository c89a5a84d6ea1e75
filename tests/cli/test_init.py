"""`init` without a cluster: what it writes, what it leaves to be filled in, and what it never does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.plan_files import write_plan_files
from tunegate.cli.main import main

Capture = pytest.CaptureFixture[str]
Json = dict[str, Any]


def rows(folder: Path, made: list[Json], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, made)))
    return path


def invoices(count: int = 120) -> list[Json]:
    return [{"prompt": f"Invoice {n}?", "completion": f'{{"due": {n}}}', "customer": n % 30} for n in range(count)]


def run(file: Path, *more: str, code: int = 0) -> None:
    assert (
        main(["init", "first", "--from", str(file), "--folder", str(file.parent / "out"), "--offline", *more]) == code
    )


def lines(file: Path) -> list[Json]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_nobody_said_is_left_empty_marked_and_listed_and_plan_refuses_it(tmp_path: Path, capsys: Capture) -> None:
    run(rows(tmp_path, invoices()), "--license", "CC-BY-4.0")
    told = capsys.readouterr().err
    for place in (
        "job.yaml: a ModelServer",
        "job.yaml: who answers for the rows",
    ):
        assert place in told
    job = yaml.safe_load((tmp_path / "out/job.yaml").read_text())
    assert (job["spec"]["dataset"]["license"], job["spec"]["dataset"]["steward"], job["spec"]["serverRef"]) == (
        "CC-BY-4.0",
        None,
        {"name": None},
    )
    assert main(["plan", "-f", str(tmp_path / "out")]) == 1
    refused = capsys.readouterr().err
    assert "these fields are wrong" in refused


def test_a_split_leaves_the_training_file_takes_whole_groups_and_is_the_same_again(
    tmp_path: Path, capsys: Capture
) -> None:
    file = rows(tmp_path, invoices())
    before = file.read_bytes()
    run(file, "--split", "10", "--group-field", "customer")
    assert "12 questions were split off" in capsys.readouterr().err
    training, questions = lines(tmp_path / "out/train.jsonl"), lines(tmp_path / "out/questions.jsonl")
    assert sorted([*training, *questions], key=str) == sorted(invoices(), key=str)
    assert not {row["customer"] for row in training} & {row["customer"] for row in questions}
    assert file.read_bytes() == before
    again = tmp_path / "again"
    again.mkdir()
    run(rows(again, invoices()), "--split", "10", "--group-field", "customer")
    assert lines(again / "out/questions.jsonl") == questions


def test_a_question_that_is_asked_twice_is_on_one_side(tmp_path: Path) -> None:
    twice = [{**row, "prompt": row["prompt"].upper()} for row in invoices()]
    run(rows(tmp_path, [*invoices(), *twice]), "--split", "20")
    sides = [
        {row["prompt"].lower() for row in lines(tmp_path / "out" / name)} for name in ("train.jsonl", "questions.jsonl")
    ]
    assert not sides[0] & sides[1]


def test_files_that_exist_are_left_alone_and_nothing_else_is_written(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/suite.yaml").write_text("mine")
    run(rows(tmp_path, invoices()), "--split", "10", code=1)
    assert "suite.yaml: exists already, and nothing was written" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["suite.yaml"]


@pytest.mark.parametrize(
    ("more", "says", "code"),
    [
        (["--split", "70"], "50 would be left to train on beside 70 questions", 1),
        (["--split", "0"], "1 or more", 2),
        (["--split", "5", "--suite", "there"], "leave out --questions and --split", 2),
        (["--split", "5", "--questions", "x.jsonl"], "give one", 2),
        (["--questions", "x.jsonl"], "x.jsonl: no such file", 2),
    ],
)
def test_wrong_usage_is_said(more: list[str], says: str, code: int, tmp_path: Path, capsys: Capture) -> None:
    run(rows(tmp_path, invoices()), *more, code=code)
    assert says in capsys.readouterr().err


def test_a_file_with_a_broken_row_is_refused_before_anything_is_written(tmp_path: Path, capsys: Capture) -> None:
    run(rows(tmp_path, [*invoices(), {"other": "my secret"}]), "--split", "10", code=1)
    said = capsys.readouterr().err
    assert "row 121" in said
    assert "my secret" not in said
    assert not (tmp_path / "out").exists()


def test_without_a_cluster_the_way_on_is_named(tmp_path: Path, capsys: Capture) -> None:
    file = rows(tmp_path, invoices())
    assert main(["--kubeconfig", str(tmp_path / "none"), "init", "first", "--from", str(file)]) == 1
    assert "--offline leaves what it would say to be filled in" in capsys.readouterr().err


def test_a_filled_in_job_is_one_that_plan_takes(tmp_path: Path, capsys: Capture) -> None:
    declared = ["--classification", "Public", "--source", "tests", "--steward", "zoe", "--license", "CC-BY-4.0"]
    run(
        rows(tmp_path, invoices()),
        *declared,
        "--suite",
        "suite",
        "--server",
        "server",
        "--uri",
        "pvc://data/train.jsonl",
        "-n",
        "team",
    )
    assert "REPLACE" not in (tmp_path / "out/job.yaml").read_text()
    site = write_plan_files(tmp_path / "files")
    capsys.readouterr()
    assert main(["plan", "-f", str(tmp_path / "out/job.yaml"), *site[3:]]) == 2
    assert "--volume models=…" in capsys.readouterr().err


def test_without_a_cluster_the_suite_comes_next_and_then_the_job(tmp_path: Path, capsys: Capture) -> None:
    declared = ["--classification", "Public", "--source", "tests", "--steward", "zoe", "--license", "CC-BY-4.0"]
    uri = ["--uri", "pvc://data/train.jsonl"]
    run(rows(tmp_path, invoices()), *declared, *uri, "--split", "10", "--server", "server", "-n", "team")
    lines = capsys.readouterr().err.partition("\nNext:\n")[2].splitlines()
    suite, job = (shlex.split(line)[1:] for line in lines)
    assert job == ["create", "job", "-f", str(tmp_path / "out/job.yaml")]
    assert main([*suite, "--offline"]) == 0
    assert "EvaluationSuite first was tried" in capsys.readouterr().out
    assert "GPU" not in (tmp_path / "out/job.yaml").read_text()
