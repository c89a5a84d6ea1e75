"""A scripted engine, and a scripted container that fetches adapters, on real sockets: for what real ones cannot be made to do on demand."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.gateway.documents import DEAD, DIES, EXPLODES, FLIPPED, GOOD, probe
from tests.gateway.engine_answers import (
    messages_answer,
    messages_events,
    responses_answer,
    responses_events,
    sent,
)
from tunegate.api.asked import AskedAs
from tunegate.api.serving import Fetched, FetchRequest, KeepRequest, folder_of
from tunegate.api.stage.probe import Probe
from tunegate.gateway.endpoints import MESSAGES, RESPONSES


class ScriptedEngine:
    """Answers as vLLM does; adapter `DEAD` scores as the base. Streams wait for ``go`` between two pieces."""

    def __init__(self) -> None:
        self.models = {"base": "/mnt/base"}
        """What it answers to, each with its folder."""
        self.changes: list[str] = []
        """Adapters that it was told to load (+) and to unload (-), and those whose probe it was asked (?), in order."""
        self.scored: Counter[str] = Counter()
        """How many recorded answers it scored under each name."""
        self.loading = asyncio.Event()
        self.loading.set()
        """Not set: it takes its time to load."""
        self.refuses: set[str] = set()
        """Adapters that it cannot load."""
        self.deaf = False
        """It breaks the connection off after it did what it was told."""
        self.silent = False
        """It breaks the connection off and loads later: whoever moves ``later`` to ``models`` says when."""
        self.later: dict[str, str] = {}
        self.told: Counter[str] = Counter()
        """How often it was told to load each adapter."""
        self.keeps: set[str] = set()
        """Adapters that it cannot unload."""
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
        self.held = ""
        """Model whose answers wait until they are broken off."""
        self.padding = 0
        """Bytes that each answer and each piece of a stream is made longer by."""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)
        app.router.add_route("*", "/{path:.*}", self._any)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.alive else 503)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name, "root": folder} for name, folder in self.models.items()]})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, folder = body["lora_name"], body["lora_path"]
        self.told[name] += 1
        if self.silent and request.transport is not None:
            self.later[name] = folder
            request.transport.abort()
            return web.Response()
        await self.loading.wait()
        if name in self.models or name in self.refuses:
            return web.json_response({"error": {"message": f"{name} cannot be loaded"}}, status=400)
        self.changes.append(f"+{name}")
        self.models[name] = folder
        if self.deaf and request.transport is not None:
            request.transport.abort()
        return web.Response(text="Success")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if name in self.keeps:
            return web.json_response({"error": {"message": f"{name} is kept"}}, status=500)
        if self.models.pop(name, None) is None:
            return web.json_response({"error": {"message": f"{name} cannot be found"}}, status=404)
        self.changes.append(f"-{name}")
        return web.Response(text="Success")

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"tokens": [1, 2, 3] if "messages" in body else [4, 5]})

    async def _any(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        if "prompt_logprobs" in body:
            if body["model"] not in self.models:
                return web.json_response({"error": {"message": "no such model"}}, status=404)
            self.scored[body["model"]] += 1
            if self.changes[-1:] != [f"?{body['model']}"] and body["model"] != "base":
                self.changes.append(f"?{body['model']}")
            score = -2.0 if body["model"] in ("base", DEAD) or (body["model"] == GOOD and not self.tuned) else -0.2
            positions: list[Any] = [None, {}, {}, {"4": {"logprob": score}}, {"5": {"logprob": score}}]
            return web.json_response({"choices": [{"prompt_logprobs": positions}]})
        self.seen.append((request.path, body, dict(request.headers)))
        self.begun.set()
        if body.get("stream"):
            return await self._stream(request, body)
        try:
            await self.go.wait()
            if body.get("model") == self.held:
                await asyncio.Event().wait()
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
                if body.get("seed") == DIES and request.transport is not None:
                    request.transport.abort()
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionError):
            self.aborted.set()
            raise
        return response


class ScriptedFetching:
    """What the container beside would do: adapter `FLIPPED` is not what was approved. Folders are those of the digests."""

    def __init__(
        self, folder: Path, asked_as: AskedAs | None = None, recorded: Mapping[str, Probe] | Probe | None = None
    ) -> None:
        self._folder = folder
        self._asked_as = asked_as
        self._recorded = recorded or probe()
        self.asked: list[tuple[str, str | None]] = []
        """Served names that were asked for, each with the credential that came along."""
        self.kept: list[str] = []
        self.refuses: list[str] = []
        """What an entry holds that is not what was approved."""
        self.away = False
        self.go = asyncio.Event()
        self.go.set()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/fetch", self._fetch)
        app.router.add_post("/keep", self._keep)
        return app

    async def _fetch(self, request: web.Request) -> web.Response:
        asked = FetchRequest.model_validate_json(await request.read())
        name = asked.entry.served_name
        self.asked.append((name, asked.auth))
        await self.go.wait()
        if self.away:
            return web.json_response({"reason": "the registry is away"}, status=503)
        if name == FLIPPED or any(word in asked.entry.model_dump_json() for word in self.refuses):
            return web.json_response({"reason": "a byte differs"}, status=422)
        folder = str(self._folder / folder_of(asked.entry.digest))
        recorded = self._recorded if isinstance(self._recorded, Probe) else self._recorded[name]
        found = Fetched(folder=folder, probe=recorded, asked_as=self._asked_as if name == GOOD else None)
        return web.Response(text=found.model_dump_json(by_alias=True))

    async def _keep(self, request: web.Request) -> web.Response:
        self.kept = KeepRequest.model_validate_json(await request.read()).digests
        return web.Response(status=204)
