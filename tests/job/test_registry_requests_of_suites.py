"""How often a job that waits for validation asks the registry about the questions of other suites. The registry is a real one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.builders import make_approvalpolicy, make_evaluationsuite
from tests.support.registry_process import running_registry
from tests.support.stage_documents import NAMESPACE, job
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.conditions import Condition
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.pushed import Part, Push, Pushed, PushedFile, PushedPlace
from tunegate.api.reasons import CatalogueReason
from tunegate.controllers.finetunejob.pushed import PushedReader
from tunegate.deadlines import Threads
from tunegate.digests import sha256
from tunegate.reconcile.finetunejob.suites import MAX_SUITES, comparable
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import withdraw, write_push

POLICY = ApprovalPolicy.model_validate(make_approvalpolicy())
QUESTIONS = b"{}\n"
THREADS = 4


class Counting(RegistryClient):
    """Counts requests by repository, and how many run at the same time; the first ones wait until all threads are there."""

    def __init__(self, host: str) -> None:
        super().__init__(host, plain_http=True)
        self.requests: Counter[str] = Counter()
        self.together: threading.Barrier | None = None

    def _send(self, method: str, repository: str, *more: Any, **options: Any) -> httpx.Response:
        self.requests[repository] += 1
        if self.together is not None:
            self.together.wait(30)
        return super()._send(method, repository, *more, **options)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Counting]:
    with running_registry(tmp_path) as running:
        client = Counting(running.host)
        yield client
        client.close()


def pushed(registry: Counting, name: str) -> EvaluationSuite:
    """Push the questions of a suite as the exchange does, and return the suite."""
    registry.push_blob(f"{NAMESPACE}/questions/{name}", QUESTIONS, "application/octet-stream")
    part = Part(digest=sha256(QUESTIONS), size=len(QUESTIONS))
    push = Push(files=[PushedFile(path="q.jsonl", parts=[part])])
    place = PushedPlace(namespace=NAMESPACE, kind="questions", name=name, digest=sha256(b""))
    said = Pushed(
        place=place, pushed_by="eva", pushed_time="2026-11-01T00:00:00Z", files=1, bytes=len(QUESTIONS), file="q.jsonl"
    )
    made = write_push(registry, NAMESPACE, "questions", name, push, said)
    data = {"uri": made.place.uri, "digest": sha256(QUESTIONS)}
    return EvaluationSuite.model_validate(make_evaluationsuite(name, NAMESPACE, data=data))


def refused(suite: EvaluationSuite) -> EvaluationSuite:
    """Return the suite as its own status says that it can judge nothing."""
    why = Condition(type="Ready", status="False", reason=CatalogueReason.BAD_INPUT, message="", last_transition_time="")
    return suite.model_copy(update={"status": suite.status.model_copy(update={"conditions": [why]})})


async def test_questions_of_others_are_asked_about_together_and_what_never_changes_once(registry: Counting) -> None:
    suites = [pushed(registry, f"s{number:02}") for number in range(THREADS)]
    reader = PushedReader(registry, Threads("the registry", THREADS))
    registry.requests.clear()

    registry.together = threading.Barrier(THREADS)
    first = await reader.read(job(), None, suites)
    registry.together = None
    asked = registry.requests.total()
    again = await reader.read(job(), None, suites)

    assert first == again
    assert [one and one.file for one in first.values()] == ["q.jsonl"] * THREADS
    assert (asked, registry.requests.total() - asked) == (3 * THREADS, THREADS)


async def test_no_more_suites_are_asked_about_than_are_read(registry: Counting) -> None:
    suites = {suite.name: suite for suite in (pushed(registry, f"s{number:02}") for number in range(MAX_SUITES + 3))}
    suites["s00"] = refused(suites["s00"])
    withdraw(registry, PushedPlace.of(suites["s01"].spec.data.uri), "eva", "2026-11-02T00:00:00Z")
    reader = PushedReader(registry, Threads("the registry", THREADS))
    registry.requests.clear()

    found = await reader.read(job(), None, comparable(job(), POLICY, suites))

    names = [PushedPlace.of(uri).name for uri in found]
    assert names == [f"s{number:02}" for number in range(1, MAX_SUITES + 2)]  # one more for the withdrawn one
    assert registry.requests.total() == 3 * (MAX_SUITES + 1)


async def test_a_withdrawal_counts_at_once_and_is_then_remembered(registry: Counting) -> None:
    suite = pushed(registry, "gate")
    reader = PushedReader(registry, Threads("the registry", THREADS))
    uri = suite.spec.data.uri
    before = (await reader.read(job(), None, [suite]))[uri]
    withdraw(registry, PushedPlace.of(uri), "eva", "2026-11-02T00:00:00Z")
    after = (await reader.read(job(), None, [suite]))[uri]
    assert before is not None
    assert before.withdrawn_by is None
    assert after is not None
    assert after.withdrawn_by == "eva"
    registry.requests.clear()
    assert (await reader.read(job(), None, [suite]))[uri] == after
    assert registry.requests.total() == 0


async def test_checks_that_compare_nothing_ask_nothing(registry: Counting) -> None:
    off = [{"name": "Overlap", "action": "Off"}, {"name": "SharedText", "action": "Off"}]
    policy = ApprovalPolicy.model_validate(make_approvalpolicy(dataChecks=off))
    assert comparable(job(), policy, {"gate": pushed(registry, "gate")}) == []
