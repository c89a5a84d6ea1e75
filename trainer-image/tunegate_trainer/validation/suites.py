"""The questions that training rows are compared with: of the job's own suite, and of the further suites of its namespace.

A further suite that can't be read is named in a finding and ends nothing. One whose questions are not what it promises, and that
was never asked, is no finding: no model can be judged by it. Of questions only hashes are kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunegate.api.datachecks import COMPARING
from tunegate.api.numbers import count_of
from tunegate.api.stage.configs import FurtherSuite, ValidateConfig
from tunegate.api.stage.findings import ComparedSuite, Finding, UnusableSuite
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.data.rows import BrokenRow, Row, RowStream
from tunegate_trainer.data.shards import open_rows
from tunegate_trainer.data.turns import turn_text
from tunegate_trainer.endings import BadInput
from tunegate_trainer.findings import warn

MAX_TEXT = 8 * 1024 * 1024
"""Characters of the questions of all further suites together. Kept are 16 bytes of each run of 13 words: 14 MB of so much
English in each process, 107 MB of Chinese, where each character is a word; while it is read, a peak of 90 and 600 MB."""
QUESTION_TEXT = 64
"""Characters by which a question counts more than it has: its own hash is kept too."""


PIECE, PIECE_OVERLAP = 1 << 16, 1 << 13
"""Characters of documents that are looked through at a time, and how many of them twice."""


@dataclass(frozen=True)
class Compared:
    """What rows are compared with."""

    questions: Questions
    suites: list[ComparedSuite]
    findings: list[Finding]
    """Suites that are left out, and may judge a model."""
    unusable: list[UnusableSuite] = field(default_factory=list)


def compare_with(config: ValidateConfig, own: Sequence[Row] | None, own_digest: str, scratch: Path) -> Compared:
    """Read the further suites; ``own``: the questions of the job's suite, as read from it, None: they are not there. Nothing where
    no check compares rows with suites."""
    suite = config.suite
    parts = [Questions.of(own or (), suite.name)]
    if not any(setting.name in COMPARING and setting.action != "Off" for setting in config.checks):
        return Compared(parts[0], [], [])
    compared = [] if own is None else [ComparedSuite(name=suite.name, digest=own_digest, questions=len(own))]
    unread = dict(config.unread_suites)
    unusable: list[UnusableSuite] = []
    room = MAX_TEXT
    for further in config.further_suites:
        reading = _Reading(scratch, room)
        try:
            parts.append(Questions.of(reading.rows(further), further.name))
        except TooMuch as problem:
            unread[further.name] = problem.message
            continue
        except BadInput as problem:
            if further.asked:
                unread[further.name] = problem.message
            else:
                unusable.append(UnusableSuite(name=further.name, digest=further.digest, problem=problem.message[:512]))
            continue
        except OSError as error:
            unread[further.name] = f"its questions cannot be read ({error.strerror or type(error).__name__})"
            continue
        room = reading.room
        compared.append(ComparedSuite(name=further.name, digest=further.digest, questions=reading.count))
    return Compared(Questions.together(parts), compared, _left_out(unread), unusable)


class TooMuch(BadInput):
    """There is no room for the questions of one more suite: nothing is wrong with it."""


@dataclass
class _Reading:
    """One further suite, read as far as there is room."""

    scratch: Path
    room: int
    """In characters."""
    count: int = 0

    def rows(self, suite: FurtherSuite) -> Iterator[Row]:
        """Yield the questions. Raises ``BadInput`` for what is broken, missing, not the frozen ones, or too much."""
        shards, _ = open_rows("its questions", suite.path, suite.data_digest, self.scratch)
        for row in RowStream(shards):
            if isinstance(row, BrokenRow):
                raise BadInput(f"its questions: row {shards.place(row.number)}: {row.problem}")
            self.room -= QUESTION_TEXT + sum(len(turn_text(turn)) for turn in row.messages[:-1])
            if self.room < 0:
                raise TooMuch(f"the questions of all further suites would have more than {MAX_TEXT} characters")
            self.count += 1
            yield row


def check_alternatives(compared: Compared, prompt: str | None, documents: Sequence[str]) -> list[Finding]:
    """Point out a prompt or documents of the baseline that hold questions: such an alternative wins by what it was told.

    It only warns: documents may rightly hold the text that a question is about.
    """
    findings = []
    for what, texts in (("baseline.prompt holds", [prompt or ""]), ("baseline.documents hold", documents)):
        held = Counter(name for piece in _pieces(texts) for name in compared.questions.questions_in(piece))
        findings += [
            warn(
                "AlternativeKnowsSuite",
                f"{what} questions of the suite {name}, in {count_of(count, 'place')}",
                count=count,
            )
            for name, count in held.items()
        ]
    return findings


def _pieces(texts: Sequence[str]) -> Iterator[str]:
    """Yield texts of a bounded length; each begins within the one before it, so that no question is cut."""
    for text in texts:
        for start in range(0, max(1, len(text) - PIECE_OVERLAP), PIECE - PIECE_OVERLAP):
            yield text[start : start + PIECE]


def _left_out(unread: Mapping[str, str]) -> list[Finding]:
    """Return one finding for each reason."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in unread.items():
        by_reason[reason].append(name)
    return [
        warn(
            "UnreadSuites",
            f"rows were not compared with {count_of(len(names), 'suite')} of the namespace ({', '.join(names)}): {reason}",
            count=len(names),
        )
        for reason, names in by_reason.items()
    ]
