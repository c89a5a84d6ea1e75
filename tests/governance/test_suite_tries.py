"""Tries on suites, counted from the ledger over any history of jobs and suites, against a model on paper."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.support.builders import make_finetunejob
from tests.support.ledgers import Clock, Store
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.tries import SHOWN, Tries
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.suite_tries import NOT_ENDED, asked, counted
from tunegate.sketch import SAME_EXAM, SIZE, Sketch

OUTCOMES = ("Pass", "Fail", "Inconclusive", "PromptingSuffices", None)


def passages(seed: int, count: int) -> list[int]:
    """Return hashes of different passages, as many numbers of 64 bits."""
    chance = Random(seed)  # noqa: S311
    return [chance.getrandbits(64) for _ in range(count)]


def sketch(values: list[int]) -> Sketch:
    return Sketch(frozenset(sorted(values)[:SIZE]), len(values))


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@dataclass(frozen=True)
class Judged:
    """A job on one file of questions: of which of two exams, how many of its 50 passages were changed, and where."""

    exam: int
    changed: int
    namespace: str
    outcome: str | None

    @property
    def questions(self) -> list[int]:
        first = passages(self.exam, 50)
        return first[self.changed :] + passages(1000 + self.exam * 100 + self.changed, self.changed)

    @property
    def data(self) -> str:
        return digest(self.exam * 100 + self.changed)


JUDGED = some.builds(
    Judged, some.integers(1, 2), some.sampled_from([0, 1, 10, 40, 45, 50]), some.sampled_from(["team", "others"]),
    some.sampled_from(OUTCOMES),
)  # fmt: skip


async def recorded(history: list[Judged]) -> LedgerWriter:
    """Return a ledger of these jobs. Whatever was deleted meanwhile, the ledger does not hear of it."""
    writer = LedgerWriter(Store(), Clock())
    for number, judged in enumerate(history):
        raw = make_finetunejob(f"job-{number}", judged.namespace, requestedBy={"username": f"person-{number}"})
        raw["metadata"]["uid"] = f"uid-{number}"
        raw["status"] = {"suiteSketch": sketch(judged.questions).text}
        job = FineTuneJob.model_validate(raw)
        subject = AuditSubject("FineTuneJob", job.namespace, job.name, job.uid)
        entry = AuditEntry("SuiteAsked", "o", subject, "SuiteAsked", asked(job, "Evaluate", judged.data))
        for _ in range(2):  # an operator that was killed records again
            await writer.append(entry)
        if judged.outcome is not None:
            end = {"reason": judged.outcome} if judged.outcome == "PromptingSuffices" else {"gate": judged.outcome}
            await writer.append(AuditEntry("JobFinished", "o", subject, "JobFinished", end))
    return writer


@settings(max_examples=60, deadline=None)
@given(some.lists(JUDGED, min_size=1, max_size=12))
def test_each_job_that_was_asked_the_same_questions_counts_once(history: list[Judged]) -> None:
    mine = history[-1]

    async def look() -> Tries:
        return await (await recorded(history)).tries(mine.data, sketch(mine.questions))

    tries = asyncio.run(look())

    same = [
        number
        for number, other in enumerate(history)
        if other.data == mine.data
        or len(set(other.questions) & set(mine.questions)) >= SAME_EXAM * min(len(other.questions), len(mine.questions))
    ]
    assert tries.total == len(same)
    assert [one.asked.subject.uid for one in tries.newest] == [f"uid-{number}" for number in same]
    shown = counted(tries, "team")
    assert [one.outcome for one in shown.newest] == [history[number].outcome or NOT_ENDED for number in same]
    for one, number in zip(shown.newest, same, strict=True):
        own = history[number].namespace == "team"
        assert (one.requested_by, one.job) == ((f"person-{number}", f"job-{number}") if own else ("", ""))


async def test_a_suite_whose_sketch_nobody_knows_yet_counts_by_its_file() -> None:
    writer = await recorded([Judged(1, 0, "team", "Fail"), Judged(1, 0, "team", None), Judged(2, 0, "team", "Pass")])

    assert (await writer.tries(digest(100))).total == 2
    assert (await writer.tries(digest(999))).total == 0


async def test_of_many_tries_the_newest_are_told_and_all_counted() -> None:
    history = [Judged(1, 0, "team", "Fail")] * (SHOWN + 5)

    told = counted(await (await recorded(history)).tries(digest(100)), "team")

    assert (told.total, len(told.newest)) == (SHOWN + 5, SHOWN)
    assert told.newest[-1].job == f"job-{SHOWN + 4}"
    assert told.told().startswith(f"{SHOWN + 5}: 5 earlier, person-5 20")


@pytest.mark.parametrize(
    ("sizes", "shared"), [((1000, 1000), 500), ((500, 2000), 250), ((3000, 300), 90), ((40, 60), 20)]
)
def test_a_sketch_estimates_the_share_of_the_smaller_suite(sizes: tuple[int, int], shared: int) -> None:
    both = passages(1, shared)
    one, other = both + passages(2, sizes[0] - shared), both + passages(3, sizes[1] - shared)

    found = [
        sketch([value ^ turn for value in one]).share(sketch([value ^ turn for value in other]))
        for turn in passages(4, 60)
    ]

    assert sum(found) / len(found) == pytest.approx(shared / min(sizes), abs=0.12)


@given(some.frozensets(some.integers(0, (1 << 64) - 1), max_size=SIZE), some.integers(SIZE, 10**9))
def test_a_sketch_is_read_as_it_was_written(values: frozenset[int], many: int) -> None:
    written = Sketch(values, len(values) if len(values) < SIZE else many)

    assert Sketch.read(written.text) == written


@pytest.mark.parametrize("text", ["", "x", "3", "3:%%", "3:AAAA", "x:", f"65:{'A' * 4000}"])
def test_what_is_no_sketch_is_none(text: str) -> None:
    assert Sketch.read(text) is None


def test_suites_without_passages_have_nothing_in_common() -> None:
    assert Sketch(frozenset(), 0).share(Sketch(frozenset({1}), 1)) == 0.0
