"""Asking a running stage for its progress, and reading results: over real HTTP, from a real registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.registry_process import running_registry
from tests.support.stage_documents import trained
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.controllers.documents import ResultReader
from tunegate.controllers.finetunejob.progress import PAUSE, ProgressPoller
from tunegate.deadlines import Threads
from tunegate.digests import sha256
from tunegate.reconcile.attempt.lost_result import LostResult
from tunegate.registry.client import RegistryClient

REPORT = {"stage": "Train", "percent": 20, "step": 12, "totalSteps": 60, "loss": 1.25, "remainingSeconds": 95}
RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-11-01T00:00:00Z"}}


class Stage(BaseHTTPRequestHandler):
    """Answers as a stage does; ``body`` and ``asked`` belong to the test."""

    body = b""
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Stage.asked.clear()
    yield server.server_port
    server.shutdown()
    server.server_close()


def pod(state: dict[str, Any] = RUNNING, address: str | None = "127.0.0.1") -> dict[str, Any]:
    status = {"podIP": address, "containerStatuses": [{"name": "stage", "state": state}]}
    return {"metadata": {"name": "pod", "uid": "uid"}, "status": status}


async def test_a_running_stage_is_asked_not_more_often_than_agreed(port: int) -> None:
    Stage.body = json.dumps(REPORT).encode()
    now = 100.0
    poller = ProgressPoller(clock=lambda: now, port=port)
    report = await poller.ask(pod())
    assert report is not None
    assert (report.percent, report.total_steps) == (20, 60)
    assert await poller.ask(pod()) is None
    now += PAUSE
    assert await poller.ask(pod()) is not None
    assert Stage.asked == ["/progress", "/progress"]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", json.dumps({**REPORT, "surprise": 1}).encode(), b"x" * 100_000]
)
async def test_an_answer_that_is_no_progress_is_ignored(port: int, body: bytes) -> None:
    Stage.body = body
    assert await ProgressPoller(port=port).ask(pod()) is None


async def test_a_stage_that_does_not_run_or_answer_is_no_error(port: int) -> None:
    assert await ProgressPoller(port=port).ask(pod(state={"waiting": {"reason": "PodInitializing"}})) is None
    assert await ProgressPoller(port=port).ask(pod(address=None)) is None
    assert await ProgressPoller(port=1).ask(pod()) is None
    assert not Stage.asked


async def test_results_are_read_once_and_missing_ones_told_from_unreadable_ones(tmp_path: Path) -> None:
    content = trained().model_dump_json(by_alias=True, exclude_none=True).encode()
    with running_registry(tmp_path) as registry:
        client = RegistryClient(registry.host, plain_http=True)
        digest = client.push_document("team/job/results", content, RESULT_MEDIA_TYPE)
        other = client.push_document("team/job/results", b'{"stage": "Train", "secret row": 1}', RESULT_MEDIA_TYPE)
        reader = ResultReader(client, Threads("the registry", 2))
        assert await reader.read("team/job/results", digest) == trained()
        assert isinstance(await reader.read("team/job/results", sha256(b"never pushed")), LostResult)
        wrong = await reader.read("team/job/results", other)
        assert isinstance(wrong, LostResult)
        assert "Train.outcome" in wrong.why
    assert await reader.read("team/job/results", digest) == trained(), "kept in memory"
    assert await ResultReader(client, Threads("the registry", 2)).read("team/job/results", digest) is None, (
        "the registry has gone"
    )
    client.close()
