"""`create suite` without a cluster: what is tried on the questions, what is refused, what is asked for, and what is printed."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.cli.create import suite_spec
from tunegate.cli.create.suite import OPTIONS
from tunegate.cli.create.suite_spec import FIELDS
from tunegate.cli.main import main
from tunegate.digests import sha256

Json = dict[str, Any]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [
        json.dumps({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
        for asked, answer in rows
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def dates(tmp_path: Path) -> Path:
    """80 questions for a date; a third of the answers are not written as in the question."""
    rows = [
        (f"invoice {n}, due 2026-01-{n % 28 + 1:02d}", f"2026-01-{n % 28 + 1:02d}" if n % 3 else "none")
        for n in range(80)
    ]
    return write(tmp_path / "questions.jsonl", rows)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    rows = [(f"ticket {n}", ("billing", "technical")[n % 2]) for n in range(40)]
    return write(tmp_path / "tickets.jsonl", rows)


def run(capsys: pytest.CaptureFixture[str], file: Path, *options: str, name: str = "suite") -> tuple[int, str, str]:
    """Return the exit status, and what was printed on both streams with the lines joined."""
    code = main(["create", "suite", *([name] if name else []), "--from", str(file), "--offline", *options])
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), " ".join(printed.err.split())


GENERATION = ("--uri", "pvc://data/questions.jsonl", "--task", "Generation", "--metric", "ExactMatch")
CLASSES = ("--uri", "pvc://data/tickets.jsonl", "--task", "Classification", "--metric", "MacroF1")
REGEX = (r"--regex=(?P<due>\d{4}-\d\d-\d\d)", "--template={due}")


def test_the_suite_is_tried_on_its_questions_and_the_place_of_the_file_is_told(
    dates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, dates, *GENERATION, *REGEX, "--margin", "0.2")

    assert code == 0
    assert f"80 questions, {sha256(dates.read_bytes())}" in out
    assert "from 0.157 on with 80 % power; the margin is 0.2" in out
    assert "your regular expression matched 80 of 80; right are 53" in out
    assert "must lie at questions.jsonl on the PersistentVolumeClaim data" in out
    assert "tunegate.io/usable-by-jobs=true" in out
    assert "Warn" not in out


def test_a_regular_expression_that_matches_nothing_is_refused(dates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, dates, *GENERATION, r"--regex=(?P<due>\d{5})", "--template={due}")

    assert code == 1
    assert "your regular expression matched 0 of 80" in out
    assert "suite was not created" in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((*GENERATION, "--regex=(?P<due", "--template={due}"), "baselines.regex: missing >"),
        ((*GENERATION, "--regex=(?P<due>a)", "--template={total}"), "baselines.regexTemplate: only named groups"),
        ((*GENERATION, "--regex=(?P<due>a)"), "baselines.regex: it belongs together with baselines.regexTemplate"),
        (
            (*GENERATION, "--labels=a,b"),
            "task.labels: required for task.type Classification, and not allowed for others",
        ),
        ((*GENERATION, "--classifier"), "baselines.classifier: needs task.type Classification"),
        ((*GENERATION, "--guardrail=MacroF1=0.1"), "guardrails: MacroF1 needs task.labels"),
        ((*GENERATION, "--quality-bar=0"), "qualityBar: every answer reaches 0"),
        ((*GENERATION, "--group-field=vendor"), "80 questions of the suite lack the field vendor"),
        ((*CLASSES, "--labels=billing,Billing."), "are the same to the evaluation"),
        ((*CLASSES, "--labels=a,b"), "the expected answers of 80 questions of the suite are none of task.labels"),
    ],
)
def test_what_cannot_judge_is_refused_by_its_field(
    options: tuple[str, ...], says: str, dates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, dates, *options)

    assert code == 1
    assert says in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--uri", "pvc://Data/q.jsonl", *GENERATION[2:]),
            "--uri (spec.data.uri): must be of the form pvc://CLAIM/path",
        ),
        (
            (*GENERATION[:3], "Rewriting", *GENERATION[4:]),
            "--task (spec.task.type): must be one of Extraction, Classification, Generation. Rewriting",
        ),
        ((*GENERATION[:5], "Rouge"), "--metric (spec.primaryMetric.name): must be one of ExactMatch, MacroF1"),
        ((*GENERATION, "--margin=2"), "--margin (spec.primaryMetric.margin): must be a fraction from 0 to 1"),
        ((*GENERATION, "--minimum=80"), "--minimum (spec.primaryMetric.minimum): must be a fraction from 0 to 1"),
        ((*GENERATION, "--quality-bar=95"), "--quality-bar (spec.qualityBar): must be a fraction from 0 to 1"),
        ((*GENERATION, "--guardrail=Rouge=0.1"), "--guardrail (spec.guardrails.0.name): Input should be"),
        ((*GENERATION, "--max-tokens=0"), "--max-tokens (spec.task.maxTokens): "),
    ],
)
def test_a_value_that_a_field_does_not_take_is_named(
    options: tuple[str, ...], says: str, dates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, dates, *options)

    assert code == 1
    assert says in err


def test_every_option_that_fills_a_field_is_named_for_it() -> None:
    fields = EvaluationSuite.model_json_schema(by_alias=True)["$defs"]["EvaluationSuiteSpec"]["properties"]
    assert {path.split(".")[1] for path in OPTIONS} <= set(fields)
    assert set(OPTIONS.values()) <= {*suite_spec.FIELDS, "guardrail"}


def test_what_the_metric_ignores_is_said_before_the_suite_is_frozen(
    dates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, dates, *GENERATION[:5], "RougeL")
    assert "RougeL ignores case, punctuation, endings of words" in out
    assert "for fixed forms use ExactMatch" in out
    assert "ignores" not in run(capsys, dates, *GENERATION)[1]


def test_answers_that_the_longest_answer_would_cut_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = write(tmp_path / "q.jsonl", [(f"say {n}", f"answer {n} has a few words") for n in range(80)])
    code, out, _ = run(capsys, texts, *GENERATION, "--max-tokens", "3")
    assert (code, "80 expected answers of 80 have more words than task.maxTokens allows tokens (3)" in out) == (0, True)
    assert "Give a larger --max-tokens" in out
    assert "more words" not in run(capsys, texts, *GENERATION, "--max-tokens", "8")[1]


def test_a_warning_refuses_only_if_that_was_asked_for(dates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, dates, *GENERATION)[0] == 0
    code, out, _ = run(capsys, dates, *GENERATION, "--strict")
    assert code == 1
    assert "80 questions show gains from 0.157 on with 80 % power; the margin is 0.05; 785 would show it" in out


def test_an_alternative_that_solves_the_task_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solved = write(tmp_path / "q.jsonl", [(f"due 2026-01-{n:02d}", f"2026-01-{n:02d}") for n in range(1, 29)])
    code, out, _ = run(capsys, solved, *GENERATION, *REGEX)

    assert (code, "reaches qualityBar 0.8: no job with this suite is trained" in out) == (0, True)


def test_labels_are_counted(tickets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, tickets, *CLASSES, "--labels=billing, technical,other", "--classifier")

    assert (code, "billing 20, technical 20, other 0" in out) == (0, True)


def test_the_object_is_printed_for_files_and_read_again(dates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        *GENERATION,
        *REGEX,
        "--margin=0.2",
        "--guardrail=RougeL=0.1",
        "--shots=3",
        "--max-tokens=20",
        "-o",
        "yaml",
    )
    assert main(["-n", "team", "create", "suite", "dates", "--from", str(dates), "--offline", *options]) == 0
    printed = capsys.readouterr()
    assert "matched 80 of 80" in printed.err, "what people read does not disturb the document"
    document = yaml.safe_load(printed.out)
    assert document["metadata"] == {"name": "dates", "namespace": "team"}
    assert document["spec"] == {
        "data": {"uri": "pvc://data/questions.jsonl", "digest": sha256(dates.read_bytes())},
        "task": {"type": "Generation", "maxTokens": 20},
        "primaryMetric": {"name": "ExactMatch", "margin": "0.2"},
        "guardrails": [{"name": "RougeL", "tolerance": "0.1"}],
        "fewShot": {"shots": 3},
        "baselines": {"regex": r"(?P<due>\d{4}-\d\d-\d\d)", "regexTemplate": "{due}"},
    }
    file = dates.with_name("suite.yaml")
    del document["spec"]["data"]["digest"]
    file.write_text(yaml.safe_dump(document))
    assert run(capsys, dates, "-f", str(file), "-o", "name", name="")[:2] == (0, "evaluationsuite/dates")


def test_another_digest_in_the_file_is_refused(dates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, dates, *GENERATION, "-o", "yaml")[0] == 0
    assert main(["create", "suite", "suite", "--from", str(dates), "--offline", *GENERATION, "-o", "yaml"]) == 0
    file = dates.with_name("suite.yaml")
    file.write_text(capsys.readouterr().out)
    with dates.open("a") as more:
        more.write(dates.read_text().splitlines()[0] + "\n")

    code, _, err = run(capsys, dates, "-f", str(file), name="")

    assert (code, "spec.data.digest: " in err, "the file says sha256:" in err) == (1, True, True)


@pytest.mark.parametrize("content", ["not JSON\n", '{"messages": []}\n', ""])
def test_a_file_without_questions_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(content)

    code, out, err = run(capsys, file, *GENERATION)

    assert (code, out, str(file) in err) == (1, "", True)


def test_wrong_usage_is_told_apart(dates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = dates.with_name("suite.yaml")
    file.write_text("kind: EvaluationSuite\n")
    for options, says, name in (
        (GENERATION, "also give NAME", ""),
        (GENERATION[:2], "also give --task, --metric", "suite"),
        (("-f", str(file), *GENERATION), "leave out --uri, --task, --metric", ""),
        ((*GENERATION, "--schema", "none.json"), "none.json: cannot be read", "suite"),
        ((*GENERATION, "--shots", "few"), "--shots must be a whole number", "suite"),
    ):
        code, _, err = run(capsys, dates, *options, name=name)
        assert (code, says in err) == (2, True), err
    code, _, err = run(capsys, dates.with_name("none.jsonl"), *GENERATION)
    assert (code, "no such file or folder" in err) == (2, True)


class Terminal(io.StringIO):
    """Where somebody types."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_asks_for_what_is_missing_and_proposes_by_what_the_file_holds(
    tickets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("\n\n\n0.3\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    uri = "pvc://data/tickets.jsonl"
    code = main(["create", "suite", "tickets", "--from", str(tickets), "--uri", uri, "--offline", "-o", "yaml"])

    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "Task (Extraction, Classification, Generation) [Classification]: " in printed.err
    assert "Least gain over each alternative (40 questions show gains from 0.221 on) [0.05]: " in printed.err
    spec = yaml.safe_load(printed.out)["spec"]
    assert spec["task"] == {"type": "Classification", "labels": ["billing", "technical"]}
    assert spec["primaryMetric"] == {"name": "MacroF1", "margin": "0.3"}
    assert spec["data"]["uri"] == uri


def test_every_field_of_the_options_has_words() -> None:
    assert all(metavar and text for metavar, text in FIELDS.values())


@pytest.mark.model
def test_expected_answers_are_tried_on_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"line {n}", json.dumps({"due": f"2026-01-{n:02d}"} if n > 1 else {"total": n})) for n in range(1, 21)]
    file = write(tmp_path / "q.jsonl", rows)
    schema = tmp_path / "schema.json"
    properties = {"due": {"type": "string", "pattern": "^[0-9-]+$"}}
    schema.write_text(
        json.dumps({"type": "object", "properties": properties, "required": ["due"], "uniqueItems": True})
    )
    options = ("--uri", "pvc://data/q.jsonl", "--task", "Extraction", "--metric", "ExactMatch", "--schema", str(schema))

    code, out, _ = run(capsys, file, *options)

    assert code == 0
    assert "19 of 20 expected answers are valid, so guided decoding can give them" in out
    assert "task.jsonSchema uses uniqueItems, which the gateway takes from no client" in out
