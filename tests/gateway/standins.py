"""A scripted engine and a scripted API server on real sockets: for what a real one cannot be made to do on demand."""

from __future__ import annotations

import asyncio
import base64
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

from tests.gateway.engine_answers import (
    messages_answer,
    messages_events,
    responses_answer,
    responses_events,
    sent,
)
from tests.support.ports import free_port
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import HashedFolder
from tunegate.api.serving import TOKEN_AUDIENCE, AdapterOutcome, PullReport, RoutesDocument, routes_name
from tunegate.api.stage.probe import Probe, ProbeItem
from tunegate.base_files import hash_folder
from tunegate.gateway.app import running
from tunegate.gateway.endpoints import MESSAGES, RESPONSES
from tunegate.gateway.gateway import Gateway
from tunegate.gateway.settings import Cluster, GatewaySettings, Limits

GOOD, DEAD, FLIPPED = "good-00000001", "dead-00000002", "flipped-00000003"
KEY, OTHER_KEY = "correct-horse-battery-staple", "incorrect-horse-battery-staple"
DIES, EXPLODES = 666, 667
"""Seeds at which the engine fails, or refuses."""
SERVER_UID = "0c0ffee0-server"
ROOT = str(Path(__file__).parents[2])


def token(name: str, audience: str = TOKEN_AUDIENCE) -> str:
    """Return what has the form of a Kubernetes token; the stand-in of the API server knows only ``KNOWN_TOKEN``."""
    claims = json.dumps({"aud": [audience], "sub": name}).encode()
    return f"header.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


KNOWN_TOKEN = token("known")


class ScriptedEngine:
    """Answers as vLLM does; adapter `DEAD` scores as the base. Streams wait for ``go`` between two pieces."""

    def __init__(self) -> None:
        self.models = ["base", GOOD, DEAD]
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.aborted = asyncio.Event()
        self.alive = True
        self.tuned = True
        """Whether adapter `GOOD` scores as it did at evaluation."""
        self.fails = 0
        """As what seed every request is answered, for endpoints that take none."""
        self.padding = 0
        """Bytes that each answer and each piece of a stream is made longer by."""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_route("*", "/{path:.*}", self._any)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.alive else 503)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"tokens": [1, 2, 3] if "messages" in body else [4, 5]})

    async def _any(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        if "prompt_logprobs" in body:
            score = -0.2 if self.tuned and body["model"] == GOOD else -2.0
            positions: list[Any] = [None, {}, {}, {"4": {"logprob": score}}, {"5": {"logprob": score}}]
            return web.json_response({"choices": [{"prompt_logprobs": positions}]})
        self.seen.append((request.path, body, dict(request.headers)))
        self.begun.set()
        if body.get("stream"):
            return await self._stream(request, body)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.aborted.set()
            raise
        if body.get("seed") == DIES:
            return web.json_response({"error": {"message": "EngineDeadError at /secret/path", "code": 500}}, status=500)
        if EXPLODES in (body.get("seed"), self.fails):
            return web.json_response({"error": {"message": f"model {body['model']} broke", "code": 400}}, status=400)
        if request.path in (RESPONSES, MESSAGES):
            write = responses_answer if request.path == RESPONSES else messages_answer
            return web.json_response(write(body["model"]))
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        padding = "x" * self.padding
        message = {"role": "assistant", "content": f"{body['model']} answers"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({"id": padding, "model": body["model"], "choices": choices, "usage": usage})

    async def _stream(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if request.path in (RESPONSES, MESSAGES):
            events = responses_events if request.path == RESPONSES else messages_events
            for event in events(body["model"]):
                await response.write(sent(event))
                await self.go.wait()
            return response
        pieces: list[dict[str, Any]] = [
            {"choices": [{"delta": {"content": text}}]} for text in ("a" + "x" * self.padding, "b")
        ]
        pieces.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
        try:
            for piece in pieces:
                await response.write(f"data: {json.dumps({'model': body['model'], **piece})}\n\n".encode())
                await self.go.wait()
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionError):
            self.aborted.set()
            raise
        return response


class ScriptedApiServer:
    """One ConfigMap that can be watched, and one known token."""

    def __init__(self, routes: RoutesDocument) -> None:
        self._version = 1
        self._routes: RoutesDocument | None = routes
        self.metadata: dict[str, Any] = {
            "name": routes_name("server"),
            "ownerReferences": [{"kind": "ModelServer", "name": "server", "uid": SERVER_UID}],
            "labels": {"app.kubernetes.io/managed-by": "tunegate", "tunegate.io/server": "server"},
        }
        self._changed = asyncio.Condition()
        self.away = False
        self.text: str | None = None
        """What the ConfigMap holds instead of the routes."""
        self.refused = 0
        """Questions about the ConfigMap while it was away."""
        self.reviewed: list[str] = []
        """Tokens that were asked about."""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/team/configmaps", self._config_maps)
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review)
        return app

    async def put(self, routes: RoutesDocument | None) -> None:
        """Change or delete the ConfigMap."""
        async with self._changed:
            self._routes, self._version = routes, self._version + 1
            self._changed.notify_all()

    def _item(self) -> dict[str, Any]:
        text = json.dumps(self._routes.to_dict()) if self._routes else ""
        text = text if self.text is None else self.text
        return {"metadata": self.metadata, "data": {"routes.json": text}}

    async def _config_maps(self, request: web.Request) -> web.StreamResponse:
        assert request.query["fieldSelector"] == f"metadata.name={routes_name('server')}"
        if self.away:
            self.refused += 1
            return web.Response(status=503)
        if "watch" not in request.query:
            items = [self._item()] if self._routes else []
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while not self.away:
            async with self._changed:
                while self._version <= seen and not self.away:
                    await self._changed.wait()
                seen = self._version
            if self.away:
                break
            event = {"type": "MODIFIED" if self._routes else "DELETED", "object": self._item()}
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    async def _review(self, request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        self.reviewed.append(spec["token"])
        known = spec["token"] == KNOWN_TOKEN
        status = {"authenticated": known, "audiences": spec["audiences"], "user": {"groups": ["analysts"]}}
        return web.json_response({"status": status}, status=201)


@dataclass
class Scene:
    """A running gateway between its stand-ins, and a client."""

    gateway: Gateway
    settings: GatewaySettings
    engine: ScriptedEngine
    cluster: ScriptedApiServer
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


def probe() -> Probe:
    items = [
        ProbeItem(messages=[{"role": "user", "content": str(n)}], answer="a", tuned_logprob=-0.2, base_logprob=-2.0)
        for n in range(8)
    ]
    return Probe(items=items, tolerance=0.1)


def base(folder: Path) -> HashedFolder:
    """A base model of one file, as `pull` hashed it."""
    root = folder / "base-model"
    root.mkdir(exist_ok=True)
    (root / "model.safetensors").write_bytes(b"weights")
    return hash_folder(root, [root / "model.safetensors"])


def report(folder: Path, asked_as: AskedAs | None = None) -> PullReport:
    good = AdapterOutcome(served_name=GOOD, release="good", state="Verified")
    dead = AdapterOutcome(served_name=DEAD, release="dead", state="Verified")
    flipped = AdapterOutcome(served_name=FLIPPED, release="flipped", state="LeftOut", reason="a byte differs")
    known = {GOOD: asked_as} if asked_as is not None else {}
    probes = {GOOD: probe(), DEAD: probe()}
    return PullReport(adapters=[good, dead, flipped], probes=probes, asked_as=known, base=base(folder))


def routes(**changes: Any) -> RoutesDocument:
    document = RoutesDocument(
        revision=1, routes={"extract": GOOD, "worthless": DEAD}, names=["extract", "future", "worthless"],
        approved=[GOOD, DEAD, FLIPPED],
    )  # fmt: skip
    return document.model_copy(update=changes)


async def until(holds: Any, what: str, seconds: float = 15.0) -> None:
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

    async def ask(self, key: str = KEY, **fields: Any) -> tuple[int, Any]:
        """Ask something short of the adapter."""
        return await self.post(
            {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], **fields}, key=key
        )


@asynccontextmanager
async def apart(folder: Path, limits: Limits | None = None) -> AsyncIterator[Apart]:
    """Run engine and API server here, and the gateway as a program, until the block ends."""
    log = folder / "gateway.log"
    async with (
        stand_ins(folder, limits) as (engine, cluster, settings),
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
        stand_ins(folder, limits, tls, asked_as) as (engine, cluster, settings),
        running(settings) as gateway,
        aiohttp.ClientSession() as http,
    ):
        scheme = "https" if tls else "http"
        urls = (f"{scheme}://127.0.0.1:{settings.port}", f"http://127.0.0.1:{settings.status_port}")
        await until(lambda: gateway.ready, "ready")
        yield Scene(gateway, settings, engine, cluster, http, *urls)


@asynccontextmanager
async def stand_ins(
    folder: Path, limits: Limits | None = None, tls: Path | None = None, asked_as: AskedAs | None = None
) -> AsyncIterator[tuple[ScriptedEngine, ScriptedApiServer, GatewaySettings]]:
    """Run engine and API server until the block ends, and say how a gateway finds them.

    ``asked_as``: how the gate asked adapter ``GOOD``.
    """
    keys, token = folder / "keys", folder / "token"
    keys.mkdir()
    (keys / "team").write_text(KEY)
    (keys / "other").write_text(OTHER_KEY)
    token.write_text("own")
    (folder / "report.json").write_text(report(folder, asked_as).model_dump_json(by_alias=True))
    engine, cluster, api_port = ScriptedEngine(), ScriptedApiServer(routes()), free_port()
    settings = GatewaySettings(
        namespace="team", server="server", cluster=Cluster(f"http://127.0.0.1:{api_port}", token, None),
        host="127.0.0.1", port=free_port(), status_port=free_port(), engine_socket=folder / "vllm.sock",
        report=folder / "report.json", api_keys=keys, server_uid=SERVER_UID, tls=tls,
        limits=limits or Limits(drain_delay=0.1, drain_seconds=5),
    )  # fmt: skip
    engine_runner = web.AppRunner(engine.app(), handler_cancellation=True, shutdown_timeout=1)
    api_runner = web.AppRunner(cluster.app(), handler_cancellation=True, shutdown_timeout=1)
    await engine_runner.setup()
    await web.UnixSite(engine_runner, str(settings.engine_socket)).start()
    await api_runner.setup()
    await web.TCPSite(api_runner, "127.0.0.1", api_port).start()
    try:
        yield engine, cluster, settings
    finally:
        await engine_runner.cleanup()
        await api_runner.cleanup()
