"""A real vLLM with the real small model on a Unix socket, and a gateway in front of it. Run in the trainer environment."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from aiohttp import web

from tests.gateway.standins import (
    KEY,
    OTHER_KEY,
    SECRET,
    SERVER_UID,
    ScriptedApiServer,
    ScriptedFetching,
    adapter,
    adapters,
    base,
    until,
)
from tests.support.ports import free_port
from tests.support.small_adapter import write_adapter
from tunegate.api.modelserver import EngineProfile
from tunegate.api.serving import AdaptersDocument, RoutesDocument, folder_of
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.api.stage.probe import Probe
from tunegate.gateway.app import running
from tunegate.gateway.engine import Engine
from tunegate.gateway.gateway import Gateway
from tunegate.gateway.settings import Cluster, GatewaySettings, Limits
from tunegate.manifests.engine import engine_args, engine_command, engine_env
from tunegate.manifests.serving import BACKEND
from tunegate.probes import EngineRequest, Scored, choose, drive, score_answer, tolerance_of
from tunegate.reconcile.modelserver.planner import CPU_SEQUENCES

GOOD, WRONG_NAMES, OTHER_BYTES = "good-00000001", "dead-00000002", "swap-00000003"
QUESTIONS = ["Who wrote Hamlet?", "What is 2+2?", "Capital of Italy?", "Name a fruit.", "Largest planet?"]  # fmt: skip
HELLO = [{"role": "user", "content": "Say hello."}]
SLOTS = 4


@dataclass
class RunningEngine:
    """A vLLM and its process. Adapters lie in folders that are named by their digests."""

    folder: Path
    base: Path
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "vllm.sock"

    @property
    def adapters(self) -> Path:
        return self.folder / "adapters"

    def place(self, name: str) -> str:
        """Return the folder in which an adapter of that name lies."""
        return str(self.adapters / folder_of(adapter(name).digest))

    def write(self, name: str, **changes: Any) -> None:
        """Make an adapter, as the container that fetches would publish it."""
        write_adapter(Path(self.place(name)), self.base, **changes)

    def start(self) -> None:
        """Start it as a pod does. It listens when this returns."""
        profile = EngineProfile(
            image=f"engine@sha256:{'0' * 64}", device="CPU", dtype="Float32", max_model_len=512, max_lora_rank=8,
            max_loras=2, enforce_eager=True, kv_cache_memory="1Gi",
        )  # fmt: skip
        arguments = engine_args(profile, str(self.base), BASE_SERVED_NAME, uds=str(self.socket), max_cpu_loras=SLOTS)
        environment = {one["name"]: one["value"] for one in engine_env(profile, loads=True)}
        environment |= {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OMP_WAIT_POLICY": "PASSIVE"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*engine_command(str(self.socket)), *arguments, BACKEND],
                stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        _wait_for(self.socket, self.process, self.folder / "log")


@contextmanager
def started_engine(folder: Path) -> Iterator[RunningEngine]:
    """Run an engine until the block ends."""
    cache = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache/tunegate")))
    model = Path(os.environ.get("TUNEGATE_TEST_MODEL", str(cache / "models" / "smollm2")))
    engine = RunningEngine(folder, model)
    engine.adapters.mkdir()
    engine.write(GOOD)
    engine.write(WRONG_NAMES, prefix="base_model.model.transformer.h")
    engine.write(OTHER_BYTES, seed=8)
    engine.start()
    try:
        yield engine
    finally:
        engine.process.terminate()
        engine.process.wait(timeout=60)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get("http://engine/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(1)
    raise AssertionError(f"the engine did not start: {log.read_text()[-2000:]}")


async def record(engine: RunningEngine, name: str = GOOD) -> Probe:
    """Return what evaluation records of an adapter."""
    async with Engine(engine.socket, Limits()) as connection:
        await connection.load(name, engine.place(name))

        async def score(messages: list[dict[str, str]], answer: str) -> Scored:
            tuned = await drive(score_answer(name, messages, answer), connection.ask)
            base = await drive(score_answer("base", messages, answer), connection.ask)
            return Scored(tuned, base)

        candidates, again = [], []
        for question in QUESTIONS:
            messages = [{"role": "user", "content": question}]
            body = {"model": name, "messages": messages, "max_tokens": 8, "temperature": 0}
            answer = await connection.ask(EngineRequest("/v1/chat/completions", body))
            text = answer["choices"][0]["message"]["content"]
            candidates.append((messages, text, await score(messages, text)))
            again.append(await score(messages, text))
        await connection.unload(name)
        return choose(candidates, tolerance_of([one[2] for one in candidates], again))


@dataclass
class Front:
    """A gateway in front of the real engine."""

    gateway: Gateway
    cluster: ScriptedApiServer
    http: aiohttp.ClientSession
    url: str

    async def chat(self, model: str, **fields: Any) -> tuple[int, Any]:
        body = {"model": model, "messages": HELLO, "max_tokens": 8, "temperature": 0, **fields}
        headers = {"Authorization": f"Bearer {KEY}"}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@dataclass
class Prepared:
    """Everything but the gateway."""

    settings: GatewaySettings
    cluster: ScriptedApiServer


@asynccontextmanager
async def prepared(
    folder: Path, engine: RunningEngine, probe: Mapping[str, Probe] | Probe, routes: RoutesDocument, *names: str
) -> AsyncIterator[Prepared]:
    """Run the stand-ins of API server and fetching container until the block ends, with these adapters on the list."""
    (folder / "base.json").write_text(base(folder).model_dump_json(by_alias=True))
    (folder / "token").write_text("own")
    (folder / "keys").mkdir()
    (folder / "keys/team").write_text(KEY)
    (folder / "keys/other").write_text(OTHER_KEY)
    cluster, port = ScriptedApiServer(routes, adapters(*names) if names else AdaptersDocument()), free_port()
    settings = GatewaySettings(
        namespace="team", server="server", cluster=Cluster(f"http://127.0.0.1:{port}", folder / "token", None),
        host="127.0.0.1", port=free_port(), status_port=free_port(), engine_socket=engine.socket,
        fetch_socket=folder / "fetch.sock", base_report=folder / "base.json", adapters=str(engine.adapters),
        most_adapters=SLOTS, credential_secret=SECRET, api_keys=folder / "keys", server_uid=SERVER_UID,
        limits=Limits(sequences=CPU_SEQUENCES),
    )  # fmt: skip
    fetching = ScriptedFetching(engine.adapters, recorded=probe)
    runners = [web.AppRunner(one.app(), handler_cancellation=True, shutdown_timeout=1) for one in (cluster, fetching)]
    for runner in runners:
        await runner.setup()
    await web.TCPSite(runners[0], "127.0.0.1", port).start()
    await web.UnixSite(runners[1], str(settings.fetch_socket)).start()
    try:
        yield Prepared(settings, cluster)
    finally:
        for runner in runners:
            await runner.cleanup()


@asynccontextmanager
async def gateway_of(ready: Prepared) -> AsyncIterator[Front]:
    """Run a gateway until the block ends; it is ready when the block begins."""
    async with running(ready.settings) as gateway, aiohttp.ClientSession() as http:
        await until(lambda: gateway.ready, "ready", seconds=600)
        yield Front(gateway, ready.cluster, http, f"http://127.0.0.1:{ready.settings.port}")
