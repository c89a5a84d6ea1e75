"""Calls in threads end for their caller in time, and those that hang take no thread from another kind."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tests.support.silent_server import silent_server
from tunegate.controllers.pod_answers import ask_pod
from tunegate.deadlines import Threads
from tunegate.errors import Transient
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Unavailable

LINE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.timeout(60)
async def test_reads_that_hang_fail_in_time_and_starve_no_other_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    anchors, registry = Threads("the anchors", 2), Threads("the registry", 2, Unavailable)
    hanging = [asyncio.create_task(anchors.call(0.3, (tmp_path / "pipe").read_text)) for _ in range(5)]

    assert await registry.call(30, lambda: "read") == "read"
    ends = await asyncio.gather(*hanging, return_exceptions=True)

    assert [str(one) for one in ends] == ["the anchors did not answer within 0.3 s"] * 5
    assert {type(one) for one in ends} == {Transient}
    os.write(held, b"late")
    os.close(held)
    assert await anchors.call(30, lambda: "free again") == "free again"


async def test_what_a_call_raises_is_raised_and_its_thread_ends_with_the_process() -> None:
    threads = Threads("anything", 1)
    with pytest.raises(ZeroDivisionError):
        await threads.call(30, lambda: 1 // 0)
    assert await threads.call(30, lambda: threading.current_thread().daemon)


async def test_a_call_for_which_no_thread_can_be_started_fails_and_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads("the registry", 1, Unavailable)
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", refused)
        with pytest.raises(Unavailable, match="cannot be asked: can't start new thread"):
            await threads.call(30, lambda: "never")
    assert await threads.call(5, lambda: "read") == "read"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("says", "trickle"), [(b"", 0.0), (LINE, 0.05)], ids=["nothing", "a byte at a time"])
def test_a_registry_request_has_one_limit_for_all_tries_and_the_body(says: bytes, trickle: float) -> None:
    with silent_server(says, trickle) as server:
        client = RegistryClient(server.host, plain_http=True, total=1.0)
        with pytest.raises(Unavailable, match="within 1 s"):
            client.pull_manifest("team/job", DIGEST)
        assert server.count == 1


@pytest.mark.timeout(60)
async def test_a_pod_that_sends_a_byte_at_a_time_is_not_waited_for() -> None:
    with silent_server(LINE, 0.05) as server:
        address, _, port = server.host.partition(":")
        assert await ask_pod(address, int(port), "/status", seconds=0.5, largest=2_000_000) is None


@pytest.mark.timeout(60)
async def test_a_pod_that_sends_more_than_is_allowed_is_not_read_on() -> None:
    with silent_server(LINE + b"x" * 1000, 0.05) as server:
        address, _, port = server.host.partition(":")
        assert await ask_pod(address, int(port), "/status", seconds=30, largest=100) is None
