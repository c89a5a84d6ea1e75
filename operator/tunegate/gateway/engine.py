"""The connection to vLLM: over a Unix socket that only this pod has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tunegate.gateway.settings import Limits
from tunegate.probes import EngineRequest

KEPT_SECONDS = 2.0
"""For so long an idle connection is kept: less than vLLM's server does (uvicorn, 5 s), so that it does not hang up first."""
ORIGIN = "http://engine"
"""Host name for the Host header; the socket is what is connected to."""
LOADING_SECONDS = 300.0
"""For the engine to read one adapter, or to forget it."""
FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


class EngineFailure(Exception):
    """The engine does not answer, or answers something unusable."""


class AdapterRefused(Exception):
    """The engine lives and does not load this adapter; the message is its own, cut short."""


class Engine:
    """One vLLM. Connections are not bounded here: the gateway bounds requests in flight."""

    def __init__(self, socket: Path, limits: Limits) -> None:
        self._limits = limits
        self._socket = socket
        # What is asked of the engine itself reaches the one that listens now, not one that was started before.
        self._http = _session(aiohttp.UnixConnector(path=str(socket), limit=0, force_close=True))
        self._kept: dict[tuple[int, int, int] | None, aiohttp.ClientSession] = {}
        """Clients' requests use connections again, those of one start of the engine for nothing that was sent after another."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._http, *self._kept.values()):
            await session.close()

    def instance(self) -> tuple[int, int, int] | None:
        """Return what differs between two starts of the engine, None while it does not listen: each makes its socket again."""
        try:
            found = self._socket.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns

    async def healthy(self) -> bool:
        """Tell whether the engine says that it is alive. It says so too when an adapter is worthless."""
        try:
            async with self._http.get(f"{ORIGIN}/health", timeout=aiohttp.ClientTimeout(total=10)) as answer:
                return answer.status == 200
        except FAILURES:
            return False

    async def models(self) -> dict[str, str]:
        """Return the names that the engine answers to, each with the folder that it was loaded from. Raises ``EngineFailure``."""
        try:
            async with self._http.get(f"{ORIGIN}/v1/models", timeout=aiohttp.ClientTimeout(total=10)) as answer:
                document = await answer.json()
                return {str(model["id"]): str(model.get("root") or "") for model in document["data"]}
        except (*FAILURES, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineFailure(f"/v1/models: {type(error).__name__}") from error

    async def load(self, name: str, folder: str) -> None:
        """Make the engine hold an adapter. Raises ``AdapterRefused``, and ``EngineFailure`` when nobody knows whether it does."""
        status, text = await self._change("/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})
        if status != 200:
            if not await self.healthy():
                raise EngineFailure(f"/v1/load_lora_adapter is answered with {status}")
            raise AdapterRefused(f"the engine answers {status}: {text[:300]}")

    async def unload(self, name: str) -> None:
        """Make the engine forget an adapter, also one that it does not hold. Raises ``EngineFailure``."""
        status, _ = await self._change("/v1/unload_lora_adapter", {"lora_name": name})
        if status not in {200, 404}:
            raise EngineFailure(f"/v1/unload_lora_adapter is answered with {status}")

    async def _change(self, path: str, body: Mapping[str, str]) -> tuple[int, str]:
        try:
            async with self._http.post(
                f"{ORIGIN}{path}", json=dict(body), timeout=aiohttp.ClientTimeout(total=LOADING_SECONDS)
            ) as answer:
                return answer.status, await answer.text()
        except (*FAILURES, ValueError) as error:
            raise EngineFailure(f"{path}: {type(error).__name__}") from error

    async def ask(self, request: EngineRequest) -> Mapping[str, Any]:
        """Post one request of a probe and return the decoded answer. Raises ``EngineFailure``."""
        try:
            async with self._http.post(
                f"{ORIGIN}{request.path}", json=request.body, timeout=aiohttp.ClientTimeout(total=120)
            ) as answer:
                if answer.status != 200:
                    raise EngineFailure(f"{request.path} is answered with {answer.status}")
                document = await answer.json()
        except (*FAILURES, ValueError) as error:
            raise EngineFailure(f"{request.path}: {type(error).__name__}") from error
        if not isinstance(document, dict):
            raise EngineFailure(f"{request.path}: the answer is no JSON object")
        return document

    async def forward(self, path: str, body: bytes, request_id: str) -> aiohttp.ClientResponse:
        """Start a client's request. Nothing of the client but the checked body goes along. Raises ``FAILURES``."""
        try:
            return await self._post(self._session_of(self.instance()), path, body, request_id)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # The engine may have hung up a kept connection at this very moment. It has answered nothing yet.
            return await self._post(self._http, path, body, request_id)

    def _session_of(self, instance: tuple[int, int, int] | None) -> aiohttp.ClientSession:
        """Return the connections to one start of the engine. Answers of an earlier one may still come to their end."""
        if instance not in self._kept:
            connector = aiohttp.UnixConnector(path=str(self._socket), limit=0, keepalive_timeout=KEPT_SECONDS)
            self._kept[instance] = _session(connector)
        return self._kept[instance]

    async def _post(
        self, session: aiohttp.ClientSession, path: str, body: bytes, request_id: str
    ) -> aiohttp.ClientResponse:
        return await session.post(
            f"{ORIGIN}{path}",
            data=body,
            headers={"Content-Type": "application/json", "X-Request-Id": request_id},
            timeout=aiohttp.ClientTimeout(
                total=self._limits.request_seconds, sock_connect=5, sock_read=self._limits.silence_seconds
            ),
        )


def _session(connector: aiohttp.UnixConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=256 * 1024)
