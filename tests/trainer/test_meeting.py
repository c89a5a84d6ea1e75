"""The pods of a training wait for each other before their processes start, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.support.ports import free_port
from tunegate_trainer.endings import PeersMissing
from tunegate_trainer.training.meeting import Meeting

HOST = "127.0.0.1"


def ends(port: int, ranks: Sequence[int], *, nodes: int, seconds: float) -> dict[int, str]:
    """Let these pods wait at the same time; return what each ends with, empty when it goes on."""

    def wait(rank: int) -> str:
        try:
            Meeting(rank, nodes, HOST, port, seconds).wait()
        except PeersMissing as missing:
            return missing.message
        return ""

    with ThreadPoolExecutor(len(ranks)) as pool:
        return dict(zip(ranks, pool.map(wait, ranks), strict=True))


def call(port: int) -> socket.socket:
    """Connect to the pod that waits there, as soon as it listens."""
    while True:
        with suppress(ConnectionRefusedError):
            return socket.create_connection((HOST, port))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_go_on_when_all_are_there(order: Sequence[int]) -> None:
    port = free_port()

    assert ends(port, order, nodes=3, seconds=60) == {0: "", 1: "", 2: ""}
    socket.create_server((HOST, port)).close()  # the launcher listens there next


def test_a_pod_that_is_alone_in_its_training_waits_for_nobody() -> None:
    assert ends(free_port(), [0], nodes=1, seconds=0) == {0: ""}


def test_none_goes_on_without_the_last_one_and_it_is_named() -> None:
    found = ends(free_port(), [0, 1], nodes=3, seconds=10)

    assert found[0] == "2 of 3 pods of the training met within 10 s; missing: pod 2"
    assert "not all pods of the training came" in found[1]


def test_a_port_that_is_taken_is_named_and_nobody_is_called_missing() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        (message,) = ends(port, [0], nodes=2, seconds=60).values()

    assert message.startswith(f"pod 0 cannot meet the other pods at port {port} (Address already in use")
    assert "missing" not in message


def test_pods_wait_for_the_first_one_too() -> None:
    assert "waited 2 s" in ends(free_port(), [1], nodes=2, seconds=2)[1]


@pytest.mark.parametrize("said", [b"", b"hello\n", b"0\n", b"7\n", b"\xff" * 40])
def test_a_caller_that_is_no_pod_of_the_training_does_not_count(said: bytes) -> None:
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ends, port, [0], nodes=2, seconds=5)
        with call(port) as stranger:
            stranger.sendall(said)
            assert "missing: pod 1" in first.result()[0]


def test_a_pod_that_hangs_up_while_it_waits_is_missing_again() -> None:
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        first: Any = pool.submit(ends, port, [0], nodes=3, seconds=6)
        with call(port) as peer:
            peer.sendall(b"1\n")
        with call(port) as other:
            other.sendall(b"2\n")
            assert first.result()[0] == "2 of 3 pods of the training met within 6 s; missing: pod 1"
