"""The OpenAI endpoints: from a client's request to a checked request for the engine, and the answer back."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from tunegate.api.stages import BASE_SERVED_NAME
from tunegate.gateway.access import Access
from tunegate.gateway.engine import FAILURES, Engine
from tunegate.gateway.errors import ApiError
from tunegate.gateway.holdings import Holdings
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.settings import Limits
from tunegate.gateway.stream import EventRewriter, Usage, renamed

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
FORBIDDEN_FIELDS = frozenset({
    "chat_template", "echo", "ec_transfer_params", "kv_transfer_params", "media_io_kwargs", "mm_payload",
    "mm_processor_kwargs", "priority", "prompt_embeds", "prompt_logprobs", "request_id", "return_mm_kwargs",
    "session_id", "vllm_xargs",
})  # fmt: skip
"""Fields with which one client reaches into the engine, or past other clients. ``prompt_logprobs``, also asked for by
``echo``, ends vLLM 0.32 for everybody when an adapter is active in the same batch."""
SERVED_NAME_HEADER = "X-Tunegate-Served-Name"
REQUEST_ID_HEADER = "X-Request-Id"


@dataclass(frozen=True)
class Question:
    """A client's request, checked and with its model resolved."""

    endpoint: str
    public: str
    served: str
    body: dict[str, Any]
    streams: bool
    wants_usage: bool
    request_id: str


class Proxy:
    """Handlers of the client port."""

    def __init__(
        self,
        engine: Engine,
        access: Access,
        routes: RouteTable,
        holdings: Holdings,
        in_flight: InFlight,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self._engine = engine
        self._access = access
        self._routes = routes
        self._holdings = holdings
        self._in_flight = in_flight
        self._metrics = metrics
        self._limits = limits
        self._started = int(time.time())

    async def models(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/models`: the names that can be asked now."""
        await self._admit(request)
        names = [BASE_SERVED_NAME, *sorted(self._routes.open)] if self._holdings.ready else []
        data = [{"id": name, "object": "model", "created": self._started, "owned_by": "tunegate"} for name in names]
        return web.json_response({"object": "list", "data": data})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """`POST` on one of ``ENDPOINTS``."""
        await self._admit(request)
        question = self._question(request.path, await self._body(request))
        with self._in_flight.enter(question.served):
            return await self._forward(request, question)

    async def _admit(self, request: web.Request) -> None:
        await self._access.admit(request.headers.get("Authorization"), self._routes.groups)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise ApiError(415, "unsupported_media_type", "send application/json")
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                text = await request.text()
            document = json.loads(text, parse_constant=_no_constant)
        except TimeoutError as error:
            raise ApiError(408, "body_timeout", "the request's body did not arrive in time") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise ApiError(413, "body_too_large", f"at most {self._limits.body_bytes} bytes are taken") from error
        except (ValueError, RecursionError, LookupError) as error:
            raise ApiError(400, "invalid_json", "the request's body is no JSON document") from error
        if not isinstance(document, dict):
            raise ApiError(400, "invalid_json", "the request's body must be a JSON object")
        return document

    def _question(self, endpoint: str, body: dict[str, Any]) -> Question:
        public = body.get("model")
        if not isinstance(public, str) or not public:
            raise ApiError(400, "model_missing", "field model: name a model of GET /v1/models")
        if forbidden := sorted(name for name in FORBIDDEN_FIELDS & body.keys() if _asks(body[name])):
            raise ApiError(400, "field_not_allowed", f"not allowed here: {', '.join(forbidden)}")
        if not self._holdings.ready:
            raise ApiError(503, "engine_not_ready", self._holdings.message or "the engine is not ready", retry_after=10)
        served = self._routes.resolve(public)
        if served is None and self._routes.expected(public):
            raise ApiError(
                503, "route_closed", f"model {public[:64]} has no adapter that may answer now", retry_after=10
            )
        if served is None:
            raise ApiError(404, "model_not_found", f"no model {public[:64]!r}: see GET /v1/models")
        streams = body.get("stream") is True
        options = body.get("stream_options") if streams else None
        options = options if isinstance(options, dict) else {}
        forwarded = {**body, "model": served}
        if streams:
            forwarded["stream_options"] = {**options, "include_usage": True}
        return Question(
            endpoint=endpoint,
            public=public,
            served=served,
            body=forwarded,
            streams=streams,
            wants_usage=options.get("include_usage") is True,
            request_id=uuid.uuid4().hex,
        )

    async def _forward(self, request: web.Request, question: Question) -> web.StreamResponse:
        labels = (question.served, question.endpoint)
        begun = time.monotonic()
        status = "aborted"
        try:
            answer = await self._engine.forward(question.endpoint, question.body, question.request_id)
            async with answer:
                if answer.status >= 500:
                    raise aiohttp.ClientResponseError(answer.request_info, (), status=answer.status)
                self._metrics.first_byte.labels(*labels).observe(time.monotonic() - begun)
                if answer.status == 200 and question.streams:
                    response = await self._stream(request, question, answer)
                else:
                    response = await self._whole(question, answer)
                status = str(answer.status)
                return response
        except FAILURES as error:
            status = "504" if isinstance(error, TimeoutError) else "502"
            raise ApiError(int(status), "engine_failed", "the engine did not answer", retry_after=5) from error
        finally:
            self._metrics.requests.labels(*labels, status).inc()
            self._metrics.seconds.labels(*labels).observe(time.monotonic() - begun)

    async def _whole(self, question: Question, answer: aiohttp.ClientResponse) -> web.Response:
        try:
            document = json.loads(await answer.read())
        except ValueError as error:
            raise ApiError(502, "engine_failed", "the engine's answer is no JSON") from error
        if not isinstance(document, dict):
            raise ApiError(502, "engine_failed", "the engine's answer is no JSON object")
        usage = Usage()
        usage.read(document)
        self._count(question, usage)
        return web.json_response(
            renamed(document, question.served, question.public), status=answer.status, headers=_headers(question)
        )

    async def _stream(
        self, request: web.Request, question: Question, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Pass events on as they come. Once begun, a failure can only break the connection off."""
        rewriter = EventRewriter(question.public, question.served, question.wants_usage)
        headers = {**_headers(question), "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            async for piece in answer.content.iter_any():
                if out := rewriter.feed(piece):
                    await response.write(out)
            if out := rewriter.close():
                await response.write(out)
            await response.write_eof()
        except FAILURES:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._count(question, rewriter.usage)
        return response

    def _count(self, question: Question, usage: Usage) -> None:
        self._metrics.tokens.labels(question.served, "prompt").inc(usage.prompt)
        self._metrics.tokens.labels(question.served, "completion").inc(usage.completion)


def _headers(question: Question) -> dict[str, str]:
    return {SERVED_NAME_HEADER: question.served, REQUEST_ID_HEADER: question.request_id}


def _asks(value: object) -> bool:
    """Tell whether a field asks for something: clients write null and false for what they do not want; 0 is a value."""
    return value is not None and value is not False


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
