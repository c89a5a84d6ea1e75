"""The endpoints that ask a model: from a client's request to a checked request for the engine, and the answer back.

The order is the protection: who asks, a place for that client, bytes for its body, the body itself, the checks, a share
of the engine. Whatever is refused is refused before the next thing is spent on it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.gateway.access import Access
from tunegate.gateway.accounts import Accounts, Spent
from tunegate.gateway.adapter_states import AdapterStates
from tunegate.gateway.bodies import BYTES_PER_TOKEN, Checked
from tunegate.gateway.endpoints import CHAT, COMPLETIONS, RESPONSES, error_form
from tunegate.gateway.engine import FAILURES, Engine
from tunegate.gateway.errors import ApiError
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.inspection import Inspection, Overloaded
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.settings import Limits
from tunegate.gateway.shadows import Shadows
from tunegate.gateway.shares import Shares
from tunegate.gateway.stream import EventRewriter
from tunegate.gateway.traffic import Asked
from tunegate.gateway.weights import SESSION_HEADER, sticky_key

SERVED_NAME_HEADER = "X-Tunegate-Served-Name"
RELEASE_HEADER = "X-Tunegate-Release"
REQUEST_ID_HEADER = "X-Request-Id"
KEY_HEADER = "X-Api-Key"
"""Where clients of Anthropic's API put what others send as a bearer token."""
KIBIBYTE = 1024
ENGINE_FAILED = "engine_failed"
"""Code of the engine's own failures, the only ones that are counted against a release."""


@dataclass(frozen=True)
class Question:
    """A client's checked request, with its model resolved."""

    endpoint: str
    asked: Checked
    served: str
    release: str
    """Behind the served name; empty for the base model."""
    request_id: str
    client: str
    traffic: Asked


class Proxy:
    """Handlers of the client port."""

    def __init__(
        self,
        engine: Engine,
        access: Access,
        routes: RouteTable,
        adapter_states: AdapterStates,
        in_flight: InFlight,
        inspection: Inspection,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self._engine = engine
        self._access = access
        self._routes = routes
        self._adapter_states = adapter_states
        self._in_flight = in_flight
        self._inspection = inspection
        self._metrics = metrics
        self._limits = limits
        self._accounts = Accounts(metrics, routes)
        self._started = int(time.time())
        patience = limits.queue_seconds
        self._places = _shares("requests", limits.places, limits.share, patience)
        self._reading = _shares("bodies", limits.reading_bytes // KIBIBYTE, limits.share, patience)
        self._inspecting = Shares("large bodies", limits.places, 1, patience)
        self._answers = _shares("whole answers", limits.reading_bytes // KIBIBYTE, limits.share, patience)
        self._sequences = _shares("answers", limits.sequences, limits.share, patience)
        self._structured = _shares("structured answers", limits.structured, limits.structured_share, patience)
        self.shadows = Shadows(engine, routes, adapter_states, in_flight, self._sequences, metrics, limits)

    async def models(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/models`: the names that can be asked now."""
        key = _key(request, await self._admit(request))
        names = [BASE_SERVED_NAME, *sorted(self._routes.open)] if self._adapter_states.answers else []
        return web.json_response({"object": "list", "data": [self._model(name, key) for name in names]})

    async def model(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/models/{name}`: one name, if it can be asked now."""
        key = _key(request, await self._admit(request))
        name = request.match_info["name"]
        self._served(name, key)
        return web.json_response(self._model(name, key))

    def _model(self, name: str, key: str) -> dict[str, object]:
        """Return what is told of a model: with how the gate asked it, which is also how it is asked here by default."""
        told: dict[str, object] = {"id": name, "object": "model", "created": self._started, "owned_by": "tunegate"}
        asked_as = self._adapter_states.asked_as.get(self._routes.resolve(name, key) or "")
        if asked_as is None:
            return told
        return told | {"asked_as": asked_as.defaults()}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """`POST` on one of ``endpoints.ENDPOINTS``."""
        client = await self._admit(request)
        try:
            self._accounts.admit(client)
            return await self._answer(request, client)
        except ApiError as error:
            self._accounts.refused(client, error)
            raise

    async def _answer(self, request: web.Request, client: str) -> web.StreamResponse:
        _check_headers(request)
        async with self._places.hold(client, 1):
            give_back = await self._reading.take(client, self._kibibytes(request))
            try:
                asked = await self._body(request, client)
                self._check_tools(asked)
                key = _key(request, client)
                self._served(asked.public, key)
                async with self._turn(client, asked):
                    # Whose turn comes only now asks only now: what was open before may be closed.
                    served = self._served(asked.public, key)
                    release = self._routes.release_of(served)
                    traffic = self._routes.traffic.begin(asked.public, served)
                    question = Question(request.path, asked, served, release, uuid.uuid4().hex, client, traffic)
                    with self._in_flight.enter(served):
                        return await self._forward(request, question, give_back)
            finally:
                give_back()

    async def _admit(self, request: web.Request) -> str:
        sent = request.headers.get("Authorization")
        if sent is None and error_form(request.path) == "Anthropic" and (key := request.headers.get(KEY_HEADER)):
            sent = f"Bearer {key}"
        routes = self._routes
        try:
            return await self._access.admit(sent, routes.groups, request.remote or "", routes.provider)
        except ApiError as error:
            if error.code != "invalid_credential" or not routes.stale:
                raise
            # Who may ask is not known now, so nobody is told that they may not.
            text = "tokens cannot be checked now; try again"
            raise ApiError(503, "tokens_unchecked", text, retry_after=5) from error

    def _kibibytes(self, request: web.Request) -> int:
        length = request.content_length
        if length is not None and length > self._limits.body_bytes:
            raise self._too_large()
        return 1 + (self._limits.body_bytes if length is None else length) // KIBIBYTE

    def _too_large(self) -> ApiError:
        return ApiError(413, "body_too_large", f"at most {self._limits.body_bytes} bytes are taken")

    async def _body(self, request: web.Request, client: str) -> Checked:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                raw = await request.read()
        except TimeoutError as error:
            raise ApiError(408, "body_timeout", "the request's body did not arrive in time") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise self._too_large() from error
        async with self._inspecting.hold(client, 1):
            return await self._inspection.body(request.path, raw)

    def _check_tools(self, asked: Checked) -> None:
        if asked.may_call_tools and not self._limits.tool_calls:
            send = (
                'tool_choice "none"'
                if asked.endpoint == RESPONSES
                else 'tool_choice "none", or "required" or one function'
            )
            raise ApiError(
                400,
                "tools_not_enabled",
                "this server finds no tool calls in answers: its owner sets spec.toolParser of the ModelServer; until then send "
                f"{send}",
                param="tools",
            )

    @asynccontextmanager
    async def _turn(self, client: str, asked: Checked) -> AsyncIterator[None]:
        """Hold the client's share of the engine while the block runs. Raises ``ApiError`` 400, 429."""
        most = self._accounts.most_answers(int(self._limits.sequences * self._limits.share))
        self._sequences.bound(most)
        if asked.sequences > most:
            raise ApiError(
                400,
                "too_many_answers",
                f"n times the number of prompts is {asked.sequences}; at most {most}",
                param="n",
            )
        begun = time.monotonic()
        compiling = await self._structured.take(client, 1) if asked.structured else None
        try:
            async with self._sequences.hold(client, asked.sequences, float(asked.work)):
                self._metrics.waiting.observe(time.monotonic() - begun)
                yield
        except BaseException:
            if compiling is not None:  # The engine goes on compiling for somebody who left.
                asyncio.get_running_loop().call_later(self._limits.compile_seconds, compiling)
                compiling = None
            raise
        finally:
            if compiling is not None:
                compiling()

    def _served(self, public: str, key: str) -> str:
        """Return who answers a client's ``key`` under a public name. Raises ``ApiError`` 404, 503."""
        if not self._adapter_states.answers:
            raise ApiError(
                503, "engine_not_ready", self._adapter_states.message or "the engine is not ready", retry_after=10
            )
        served = self._routes.resolve(public, key)
        if served is None and self._routes.may_open(public):
            raise ApiError(
                503, "route_closed", f"model {public[:64]} has no adapter that may answer now", retry_after=10
            )
        if served is None:
            raise ApiError(404, "model_not_found", f"no model {public[:64]!r}: see GET /v1/models", param="model")
        return served

    async def _forward(
        self, request: web.Request, question: Question, body_sent: Callable[[], None]
    ) -> web.StreamResponse:
        labels = (question.served, question.endpoint)
        begun = time.monotonic()
        status, spent = "aborted", Spent()
        try:
            body = question.asked.for_engine(question.served, self._adapter_states.asked_as.get(question.served))
            answer = await self._engine.forward(question.endpoint, body, question.request_id)
            body_sent()
            async with answer:
                if answer.status >= 500:
                    raise aiohttp.ClientResponseError(answer.request_info, (), status=answer.status)
                self._metrics.first_byte.labels(*labels).observe(time.monotonic() - begun)
                if answer.status == 200 and question.asked.streams:
                    response = await self._stream(request, question, answer, spent)
                else:
                    response = await self._whole(request, question, answer, spent)
                status = str(answer.status)
                return response
        except ApiError as error:
            if error.code == ENGINE_FAILED:  # All else comes of what the client asked for.
                question.traffic.failed, status = True, str(error.status)
            raise
        except FAILURES as error:
            question.traffic.failed = not isinstance(error, ConnectionError)  # That one is the client's connection.
            status = "504" if isinstance(error, TimeoutError) else "502"
            raise ApiError(int(status), ENGINE_FAILED, "the engine did not answer", retry_after=5) from error
        finally:
            question.traffic.tokens = spent.usage.completion
            question.traffic.end()
            self._metrics.requests.labels(*labels, status).inc()
            self._metrics.seconds.labels(*labels).observe(time.monotonic() - begun)
            self._accounts.ended(question.client, question.served, status, question.asked, spent)

    async def _whole(
        self, request: web.Request, question: Question, answer: aiohttp.ClientResponse, spent: Spent
    ) -> web.StreamResponse:
        """Pass on an answer that is held as a whole, until its client has read it: such bytes are bounded in all."""
        most = self._limits.answer_bytes
        length = answer.content_length
        async with self._answers.hold(question.client, 1 + min(most if length is None else length, most) // KIBIBYTE):
            raw = bytearray()
            async for piece in answer.content.iter_any():
                raw += piece
                spent.events = len(raw) // BYTES_PER_TOKEN
                if len(raw) > most:
                    text = f"the answer has more than {most} bytes: ask for fewer logprobs, or stream"
                    raise ApiError(502, "answer_too_large", text)
            try:
                found = await self._inspection.answer(
                    bytes(raw), question.served, question.asked.public, answer.status, error_form(question.endpoint)
                )
            except Overloaded as error:
                text = f"the answer {error}; ask for a simpler one, or stream"
                raise ApiError(502, "answer_too_hard", text) from error
            if found is None:
                raise ApiError(502, ENGINE_FAILED, "the engine's answer is no JSON object")
            spent.usage = found.usage
            response = web.StreamResponse(status=answer.status, headers=_headers(question))
            response.content_type = "application/json"
            response.charset = "utf-8"
            response.content_length = len(found.body)
            await response.prepare(request)
            try:
                await self._write(response, found.body)
                await response.write_eof()
                question.traffic.finished = answer.status == 200
                if question.traffic.finished:
                    self._copy(question, found.body if question.asked.greedy else None)
            except FAILURES:
                _break_off(request)
            return response

    async def _stream(
        self, request: web.Request, question: Question, answer: aiohttp.ClientResponse, spent: Spent
    ) -> web.StreamResponse:
        """Pass events on as they come. Once begun, a failure can only break the connection off."""
        asks_for_usage = question.endpoint in (CHAT, COMPLETIONS)
        wants_usage = not asks_for_usage or question.asked.stream_options.get("include_usage", False)
        rewriter = EventRewriter(question.asked.public, question.served, wants_usage)
        headers = {**_headers(question), "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            async for piece in answer.content.iter_any():
                if out := rewriter.feed(piece):
                    await self._write(response, out)
            if out := rewriter.close():
                await self._write(response, out)
            await response.write_eof()
            question.traffic.finished = True
            self._copy(question, None)
        except FAILURES as error:
            # What comes of writing to the client is a reset or a timeout; what comes of the engine is one of its client's errors.
            question.traffic.failed = isinstance(error, aiohttp.ClientError) and not isinstance(error, ConnectionError)
            _break_off(request)
        finally:
            spent.usage, spent.events = rewriter.usage, rewriter.events
        return response

    def _copy(self, question: Question, answer: bytes | None) -> None:
        self.shadows.copy(question.endpoint, question.asked, question.served, question.request_id, answer)

    async def _write(self, response: web.StreamResponse, out: bytes) -> None:
        """Send a piece; a client that reads nothing for too long ends the answer (``TimeoutError``)."""
        async with asyncio.timeout(self._limits.write_seconds):
            await response.write(out)


def _break_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _shares(what: str, total: int, share: float, patience: float) -> Shares:
    return Shares(what, total, int(total * share), patience)


def _check_headers(request: web.Request) -> None:
    """Refuse a body that is not plain JSON in UTF-8. Raises ``ApiError`` 415."""
    if request.content_type != "application/json":
        raise ApiError(415, "unsupported_media_type", "send application/json")
    charset = request.headers.get("Content-Type", "").partition(";")[2].strip().lower().replace(" ", "")
    if charset not in {"", "charset=utf-8", 'charset="utf-8"'}:
        raise ApiError(415, "unsupported_media_type", "Content-Type: charset=utf-8 is the only parameter taken")
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ApiError(415, "unsupported_media_type", "Content-Encoding: send the body as it is, not compressed")


def _key(request: web.Request, client: str) -> str:
    return sticky_key(client, request.headers.get(SESSION_HEADER))


def _headers(question: Question) -> dict[str, str]:
    headers = {SERVED_NAME_HEADER: question.served, REQUEST_ID_HEADER: question.request_id}
    return headers | ({RELEASE_HEADER: question.release} if question.release else {})
