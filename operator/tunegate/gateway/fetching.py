"""The connection to the container of this pod that fetches adapters: it holds no credential, so each question brings one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import ValidationError

from tunegate.api.serving import AdapterEntry, Fetched, FetchRequest, KeepRequest, Refusal
from tunegate.gateway.cluster import Unreachable
from tunegate.gateway.engine import FAILURES

ORIGIN = "http://adapters"
FETCH_SECONDS = 3600.0
"""For one adapter; asked again, the container goes on where it is."""
Credential = Callable[[], Awaitable[str | None]]
"""Returns the Docker configuration that opens the adapters now, None: the container has its own. Raises ``Unreachable``."""


class NotNow(Exception):
    """The adapter cannot be fetched at the moment; the message says why."""


class NotServable(Exception):
    """The adapter is not what was approved; the message says how."""


class Fetching:
    """Asks for adapters, one question each."""

    def __init__(self, socket: Path, credential: Credential) -> None:
        self._credential = credential
        self._http = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(socket), force_close=True), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def fetch(self, entry: AdapterEntry) -> Fetched:
        """Have an adapter verified in its folder. Raises ``NotNow`` and ``NotServable``."""
        try:
            question = FetchRequest(entry=entry, auth=await self._credential())
            status, text = await self._ask("/fetch", question, FETCH_SECONDS)
            if status == 200:
                return Fetched.model_validate_json(text)
            reason = Refusal.model_validate_json(text).reason
        except Unreachable as error:
            raise NotNow(f"the registry's credential cannot be read: {error}") from error
        except (*FAILURES, ValidationError) as error:
            raise NotNow(f"the container that fetches adapters does not answer: {type(error).__name__}") from error
        raise NotServable(reason) if status == 422 else NotNow(reason)

    async def keep(self, digests: Iterable[str]) -> None:
        """Have the folders of all other adapters removed. Raises ``NotNow``."""
        try:
            status, _ = await self._ask("/keep", KeepRequest(digests=sorted(digests)), 60.0)
        except FAILURES as error:
            raise NotNow(f"the container that fetches adapters does not answer: {type(error).__name__}") from error
        if status != 204:
            raise NotNow(f"the container that fetches adapters answers {status}")

    async def _ask(self, path: str, question: FetchRequest | KeepRequest, seconds: float) -> tuple[int, bytes]:
        body = question.model_dump_json(by_alias=True).encode()
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=5)
        async with self._http.post(f"{ORIGIN}{path}", data=body, timeout=timeout) as answer:
            return answer.status, await answer.read()
