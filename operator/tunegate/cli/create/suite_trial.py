"""A suite tried on its questions before it is frozen, by the code that validation and the baseline run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.numbers import count_of
from tunegate.api.stage.findings import Finding
from tunegate.cli import screen
from tunegate.cli.failure import CommandFailure, WrongUsage

if TYPE_CHECKING:
    from tunegate_trainer.data.rows import Row

LIBRARIES = "this needs a library of the stages: from a checkout, uv sync --extra cli --extra trainer"
REFUSING = frozenset({"SuiteRegex"})
"""Warnings of validation that keep a suite from being made: what was meant to be a rival answers nothing, for good."""


FORM_IGNORED = (
    "RougeL ignores case, punctuation, endings of words and letters outside a-z: for fixed forms use ExactMatch, with --minimum "
    "as the least share of right answers"
)


@dataclass(frozen=True)
class Questions:
    """What the file holds."""

    rows: Sequence[Row]
    digest: str

    @property
    def answers(self) -> list[str]:
        """The expected ones."""
        return [row.answer for row in self.rows]


@dataclass(frozen=True)
class Trial:
    """What was found."""

    facts: list[tuple[str, str]]
    findings: list[Finding]

    def refuses(self, *, strict: bool) -> bool:
        """Whether such a suite should not be made."""
        return any(strict or one.action == "Block" or one.check in REFUSING for one in self.findings)

    def show(self, *, stderr: bool) -> None:
        """Print it for people."""
        out = screen.console(stderr=stderr, pipe_width=screen.PAGE_WIDTH)
        screen.facts(out, self.facts, indent=0)
        if self.findings:
            rows = [(one.action, one.check, _with_places(one)) for one in self.findings]
            screen.table(out, ("action", "check", "what was found"), rows)


def read(file: str) -> Questions:
    """Read the questions. Raises ``WrongUsage`` for a file that is missing, ``CommandFailure`` for one that holds no questions."""
    if not Path(file).exists():
        raise WrongUsage(f"{file}: no such file or folder")
    try:
        from tunegate_trainer.data.rows import read_sound_rows
        from tunegate_trainer.data.shards import open_rows
        from tunegate_trainer.endings import StageEnd
    except ImportError as error:
        raise CommandFailure(f"{LIBRARIES} ({error.name} is missing)") from error
    with tempfile.TemporaryDirectory() as scratch:
        try:
            shards, digest = open_rows(file, file, None, Path(scratch))
            return Questions(read_sound_rows(shards), digest)
        except StageEnd as end:
            raise CommandFailure(end.message) from end
        except ImportError as error:
            raise CommandFailure(f"{file}: {LIBRARIES}, or give a plain .jsonl ({error.name} is missing)") from error


def try_out(spec: EvaluationSuiteSpec, questions: Questions) -> Trial:
    """Return what the suite does with its questions. Raises ``CommandFailure`` where a library is missing."""
    from tunegate_trainer.endings import StageEnd
    from tunegate_trainer.evaluation.power import smallest_visible_gain
    from tunegate_trainer.evaluation.suite_checks import check_suite, groups_of, try_regex

    rows = questions.rows
    try:
        findings = list(check_suite(rows, spec, str))
    except ImportError as error:
        raise CommandFailure(f"{LIBRARIES} ({error.name} is missing)") from error
    groups = groups_of(rows, spec)
    resampled = f" in {count_of(groups, 'group')}" if groups != len(rows) else ""
    margin = spec.primary_metric.margin
    facts = [
        ("questions", f"{count_of(len(rows), 'question')}{resampled}, {questions.digest}"),
        ("gain", f"from {smallest_visible_gain(groups):.3f} on with 80 % power; the margin is {margin}"),
    ]
    broken = any(one.action == "Block" for one in findings)
    if spec.primary_metric.name == "RougeL":
        facts.append(("metric", FORM_IGNORED))
    findings += _cut(rows, spec.task.max_tokens)
    if spec.task.json_schema is not None and not broken:
        unfit = sum(one.count for one in findings if one.check == "SuiteAnswers")
        fits = len(rows) - unfit
        facts.append(("schema", f"{fits} of {len(rows)} expected answers are valid, so guided decoding can give them"))
    if spec.task.labels and not broken:
        facts.append(("labels", _shares(spec.task.labels, questions.answers)))
    try:
        trial = try_regex(rows, spec) if not broken else None
    except StageEnd:
        trial = None  # a finding says why
    if trial is not None:
        facts.append(
            ("regex", f"your regular expression matched {trial.matched} of {trial.questions}; right are {trial.right}")
        )
    return Trial(facts, findings)


def _cut(rows: Sequence[Row], most: int) -> list[Finding]:
    """Return a warning of expected answers with more words than tokens are allowed: a token is seldom more than a word.

    How many tokens they have, validation says by the base model's tokenizer.
    """
    from tunegate_trainer.findings import warn

    long = [row.number for row in rows if len(row.answer.split()) > most]
    if not long:
        return []
    message = (
        f"{count_of(len(long), 'expected answer')} of {len(rows)} have more words than task.maxTokens allows tokens ({most}): answers "
        "are cut before they can be right. Give a larger --max-tokens"
    )
    return [warn("SuiteAnswers", message, count=len(long), rows=long, place=str)]


def _shares(labels: Sequence[str], answers: Sequence[str]) -> str:
    from tunegate.api.normalization import normalize_label

    given = [normalize_label(answer) for answer in answers]
    return ", ".join(f"{label} {given.count(normalize_label(label))}" for label in labels)


def _with_places(finding: Finding) -> str:
    places = finding.places()
    return f"{finding.message}{f' (rows {places})' if places else ''}"
