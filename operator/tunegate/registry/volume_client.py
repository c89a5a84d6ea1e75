"""Asks the program beside the chart's registry (``tunegate.registry_volume``) what lies on its volume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import ValidationError

from tunegate.errors import wrong_fields
from tunegate.registry.client import trust
from tunegate.registry.failures import Refused, Unauthorized, Unavailable
from tunegate.registry.stored import Room, StockEnd, StoredManifest

ROOM_SECONDS = 60.0
"""A whole answer: a count reads every manifest, and is made every five minutes."""
LISTING_SECONDS = 1800.0
READ_SECONDS = 60.0
LARGEST_LINE = 8 * 1024 * 1024
Document = TypeVar("Document", Room, StoredManifest, StockEnd)


class VolumeClient:
    """One such program. Synchronous: call it in a thread."""

    def __init__(self, url: str, token: Callable[[], str], *, ca_file: Path | None = None) -> None:
        """``url`` without a path; ``token`` gives one for each request."""
        self._url = url
        self._token = token
        self._http = httpx.Client(verify=trust(ca_file), trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def room(self) -> Room:
        """Return how full the volume is. Raises a ``RegistryError``."""
        with self._answer("/room", ROOM_SECONDS) as lines:
            return self._read(Room, next(lines, ""))

    def manifests(self) -> list[StoredManifest]:
        """Return every manifest on the volume. Raises a ``RegistryError``, also for a listing that was cut off."""
        found: list[StoredManifest] = []
        with self._answer("/manifests", LISTING_SECONDS) as lines:
            for line in lines:
                if not line.startswith('{"manifestsListed"'):
                    found.append(self._read(StoredManifest, line))
                elif self._read(StockEnd, line).manifests_listed == len(found) and next(lines, None) is None:
                    return found
                else:
                    break
        raise Unavailable(f"{self._url}: the listing of the registry's volume is not whole")

    @contextmanager
    def _answer(self, path: str, seconds: float) -> Iterator[Iterator[str]]:
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            with self._http.stream("GET", self._url + path, headers=headers, timeout=READ_SECONDS) as answer:
                if answer.status_code == 401:
                    raise Unauthorized(f"{self._url}: refuses the operator's token")
                if answer.status_code != 200:
                    raise Unavailable(f"{self._url}: answers {answer.status_code}")
                yield self._lines(answer, time.monotonic() + seconds)
        except httpx.TransportError as error:
            raise Unavailable(f"{self._url}: {type(error).__name__}") from error

    def _lines(self, answer: httpx.Response, ends: float) -> Iterator[str]:
        rest = b""
        for piece in answer.iter_bytes():
            if time.monotonic() > ends or len(rest) > LARGEST_LINE:
                raise Unavailable(f"{self._url}: its answer takes too long, or has too long a line")
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def _read(self, kind: type[Document], line: str) -> Document:
        try:
            return kind.model_validate_json(line)
        except ValidationError as error:
            raise Refused(f"{self._url}: tells something in an unknown form: {wrong_fields(error)}") from error
