"""An engine that listens and does not answer is restarted; one that is loading or only slow is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.server_world import World
from tunegate.api.serving import ENGINE_SOCKET
from tunegate.manifests.engine_probes import liveness_probe

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(status: str) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        assert asked.startswith(b"GET /health ")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def engine(place: Path, answer: Answer) -> AsyncIterator[None]:
    async with await asyncio.start_unix_server(answer, place):
        yield


async def probe(place: Path, seconds: float = 60.0) -> int | None:
    """Run the probe's command as the kubelet does; None: it ran into the time limit of the probe."""
    probed = liveness_probe(str(place))
    process = await asyncio.create_subprocess_exec(*probed["exec"]["command"], stderr=asyncio.subprocess.DEVNULL)
    try:
        return await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None


async def test_an_engine_that_is_loading_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "vllm.sock"
    assert await probe(place) == 0
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(place))  # As vLLM does before it loads a model: bound, and not listening yet.
        assert await probe(place) == 0


@pytest.mark.parametrize(("status", "code"), [("200 OK", 0), ("503 Service Unavailable", 1), ("500 Error", 1)])
async def test_an_engine_that_answers_is_judged_by_its_answer(tmp_path: Path, status: str, code: int) -> None:
    async with engine(tmp_path / "vllm.sock", saying(status)):
        assert await probe(tmp_path / "vllm.sock") == code


async def test_a_hung_engine_fails_the_probe_within_the_kubelets_time(tmp_path: Path) -> None:
    place = tmp_path / "vllm.sock"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(place))
        hung.listen(1)  # The kernel takes the connection; nobody accepts it.
        begun = asyncio.get_running_loop().time()
        assert await probe(place) == 1
        assert asyncio.get_running_loop().time() - begun < liveness_probe(str(place))["timeoutSeconds"]
    async with engine(tmp_path / "other.sock", silent):
        assert await probe(tmp_path / "other.sock") == 1


def test_a_servers_engine_has_the_probe() -> None:
    world = World()
    world.settle()
    assert world.deployment is not None
    pod = world.deployment["spec"]["template"]["spec"]
    (found,) = (one for one in pod["initContainers"] if one["name"] == "engine")
    assert found["livenessProbe"] == liveness_probe(ENGINE_SOCKET)
    seconds = found["livenessProbe"]["periodSeconds"] * found["livenessProbe"]["failureThreshold"]
    assert seconds == 300
