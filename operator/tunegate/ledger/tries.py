"""Tries on suites, as the ledger has them: which jobs put which questions to a model of their own, and what came of it.

A try is the record `SuiteAsked`, written before the first question is asked, so that nothing that is deleted afterwards takes
it back. Tries belong together by the questions: the same file, or one that has enough of the same passages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.sketch import SAME_EXAM, Sketch

SHOWN = 20
"""Newest tries that are told one by one."""


@dataclass(frozen=True)
class Try:
    """One job's try."""

    asked: AuditRecordSpec
    ended: AuditRecordSpec | None
    """The end of the job; None: it has none, or was deleted before."""


@dataclass(frozen=True)
class Tries:
    """All tries on the same questions."""

    total: int = 0
    newest: tuple[Try, ...] = ()
    """At most ``SHOWN``, oldest first."""


@dataclass
class _Exam:
    """What was asked from one file of questions."""

    sketches: list[Sketch] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("I"))


class Exams:
    """The places of all tries, by the digest of the questions' file. Grows with tries, and is searched by suites."""

    def __init__(self) -> None:
        self._exams: dict[str, _Exam] = {}

    def add(self, payload: Mapping[str, Any], place: int) -> None:
        """Take up a record `SuiteAsked`."""
        exam = self._exams.setdefault(str(payload.get("suiteData", "")), _Exam())
        exam.places.append(place)
        sketch = Sketch.read(str(payload.get("suiteSketch", "")))
        if sketch is not None and sketch not in exam.sketches:
            exam.sketches.append(sketch)

    def places(self, data_digest: str, sketch: Sketch | None = None) -> list[int]:
        """Return the places of all tries on the same questions, in order. ``sketch``: of the file, where it is known."""
        own = self._exams.get(data_digest)
        mine = [*(own.sketches if own else ()), *([sketch] if sketch else ())]
        found = [exam.places for name, exam in self._exams.items() if name == data_digest or _same(mine, exam.sketches)]
        return sorted(place for places in found for place in places)


def _same(mine: Iterable[Sketch], theirs: Iterable[Sketch]) -> bool:
    return any(one.share(other) >= SAME_EXAM for one in mine for other in theirs)
