"""A gateway between a scripted engine, a scripted container that fetches adapters and a scripted API server."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.gateway.documents import (
    CREDENTIAL,
    DEAD,
    DIES,
    EXPLODES,
    FLIPPED,
    GOOD,
    KEY,
    KNOWN_TOKEN,
    OTHER_KEY,
    SECRET,
    SERVER_UID,
    adapter,
    adapters,
    base,
    probe,
    routes,
    to,
    token,
)
from tests.gateway.scripted_cluster import ScriptedApiServer
from tests.gateway.scripted_pod import ScriptedEngine, ScriptedFetching
from tests.support.ports import free_port
from tunegate.api.asked import AskedAs
from tunegate.gateway.app import running
from tunegate.gateway.gateway import Gateway
from tunegate.gateway.settings import Cluster, GatewaySettings, Limits

__all__ = [
    "CREDENTIAL", "DEAD", "DIES", "EXPLODES", "FLIPPED", "GOOD", "KEY", "KNOWN_TOKEN", "OTHER_KEY", "SECRET", "SERVER_UID",
    "Apart", "Scene", "ScriptedApiServer", "ScriptedEngine", "ScriptedFetching", "adapter", "adapters", "apart", "base",
    "gateway_program", "probe", "routes", "scene", "stand_ins", "to", "token", "until",
]  # fmt: skip
ROOT = str(Path(__file__).parents[2])


@dataclass
class Scene:
    """A running gateway between its stand-ins, and a client."""

    gateway: Gateway
    settings: GatewaySettings
    engine: ScriptedEngine
    cluster: ScriptedApiServer
    fetching: ScriptedFetching
    http: aiohttp.ClientSession
    url: str
    status_url: str
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"})

    async def post(self, path: str, body: Any, **changes: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Ask and return status, decoded answer and headers."""
        options: dict[str, Any] = {"json": body, "headers": self.headers, **changes}
        async with self.http.post(self.url + path, **options) as answer:
            return answer.status, await answer.json(), dict(answer.headers)

    async def ask(self, model: str = "extract", **fields: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Ask a model something short."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
        return await self.post("/v1/chat/completions", body)


async def until(holds: Any, what: str, seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - what is waited for announces nothing
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not {what} within {seconds:g} s") from None


@dataclass
class Apart:
    """A gateway in a process of its own, between the same stand-ins."""

    engine: ScriptedEngine
    cluster: ScriptedApiServer
    settings: GatewaySettings
    process: asyncio.subprocess.Process
    log: Path
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    async def status(self) -> dict[str, Any]:
        """Ask what the operator asks."""
        async with self.http.get(f"http://127.0.0.1:{self.settings.status_port}/status") as answer:
            return dict(await answer.json())

    async def told(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status says it, and return that status."""
        async with asyncio.timeout(60):
            status = await self.status()
            while not holds(status):
                await asyncio.sleep(0.1)
                status = await self.status()
        return status

    async def post(
        self, body: Any, path: str = "/v1/chat/completions", key: str = KEY, **changes: Any
    ) -> tuple[int, Any]:
        """Ask as the holder of a key; bytes are sent as they are."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **changes.pop("headers", {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(self.url + path, data=data, headers=headers, **changes) as answer:
            return answer.status, await answer.json()

    async def ask(self, key: str = KEY, headers: Mapping[str, str] | None = None, **fields: Any) -> tuple[int, Any]:
        """Ask something short of the adapter."""
        body = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], **fields}
        return await self.post(body, key=key, headers=dict(headers or {}))


@asynccontextmanager
async def apart(folder: Path, limits: Limits | None = None) -> AsyncIterator[Apart]:
    """Run engine and API server here, and the gateway as a program, until the block ends."""
    log = folder / "gateway.log"
    async with (
        stand_ins(folder, limits) as (engine, cluster, _, settings),
        gateway_program(settings, log) as process,
        aiohttp.ClientSession() as http,
    ):
        yield Apart(engine, cluster, settings, process, log, http)


@asynccontextmanager
async def gateway_program(settings: GatewaySettings, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a gateway in a process of its own, whose whole output goes to ``log``; it is ready when the block begins."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.gateway.program", stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, *sys.path]))},
        )  # fmt: skip
    if process.stdin is None:
        raise RuntimeError("the program has no input")
    process.stdin.write(pickle.dumps(settings))
    process.stdin.close()
    try:
        async with asyncio.timeout(600):
            while not await _ready(settings):
                if process.returncode is not None:
                    raise RuntimeError(f"the gateway ended: {log}")
                await asyncio.sleep(0.2)
        yield process
    finally:
        process.terminate()
        await process.wait()


async def _ready(settings: GatewaySettings) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{settings.status_port}/status") as answer,
        ):
            return bool((await answer.json())["ready"])
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def scene(
    folder: Path, limits: Limits | None = None, tls: Path | None = None, asked_as: AskedAs | None = None
) -> AsyncIterator[Scene]:
    """Run engine, API server and gateway until the block ends."""
    async with (
        stand_ins(folder, limits, tls, asked_as) as (engine, cluster, fetching, settings),
        running(settings) as gateway,
        aiohttp.ClientSession() as http,
    ):
        scheme = "https" if tls else "http"
        urls = (f"{scheme}://127.0.0.1:{settings.port}", f"http://127.0.0.1:{settings.status_port}")
        await until(lambda: gateway.ready, "ready")
        yield Scene(gateway, settings, engine, cluster, fetching, http, *urls)


@asynccontextmanager
async def stand_ins(
    folder: Path, limits: Limits | None = None, tls: Path | None = None, asked_as: AskedAs | None = None
) -> AsyncIterator[tuple[ScriptedEngine, ScriptedApiServer, ScriptedFetching, GatewaySettings]]:
    """Run engine, API server and the container that fetches until the block ends, and say how a gateway finds them.

    ``asked_as``: how the gate asked adapter ``GOOD``.
    """
    keys, token = folder / "keys", folder / "token"
    keys.mkdir()
    (keys / "team").write_text(KEY)
    (keys / "other").write_text(OTHER_KEY)
    token.write_text("own")
    (folder / "base.json").write_text(base(folder).model_dump_json(by_alias=True))
    engine, cluster, api_port = (
        ScriptedEngine(),
        ScriptedApiServer(routes(), adapters(GOOD, DEAD, FLIPPED)),
        free_port(),
    )
    fetching = ScriptedFetching(folder / "adapters", asked_as)
    settings = GatewaySettings(
        namespace="team", server="server", cluster=Cluster(f"http://127.0.0.1:{api_port}", token, None),
        host="127.0.0.1", port=free_port(), status_port=free_port(), engine_socket=folder / "vllm.sock",
        fetch_socket=folder / "fetch.sock", base_report=folder / "base.json", adapters=str(folder / "adapters"),
        credential_secret=SECRET, api_keys=keys, server_uid=SERVER_UID, tls=tls,
        limits=limits or Limits(drain_delay=0.1, drain_seconds=5),
    )  # fmt: skip
    engine_runner = web.AppRunner(engine.app(), handler_cancellation=True, shutdown_timeout=1)
    fetch_runner = web.AppRunner(fetching.app(), handler_cancellation=True, shutdown_timeout=1)
    api_runner = web.AppRunner(cluster.app(), handler_cancellation=True, shutdown_timeout=1)
    await engine_runner.setup()
    await web.UnixSite(engine_runner, str(settings.engine_socket)).start()
    await fetch_runner.setup()
    await web.UnixSite(fetch_runner, str(settings.fetch_socket)).start()
    await api_runner.setup()
    await web.TCPSite(api_runner, "127.0.0.1", api_port).start()
    try:
        yield engine, cluster, fetching, settings
    finally:
        await engine_runner.cleanup()
        await fetch_runner.cleanup()
        await api_runner.cleanup()
