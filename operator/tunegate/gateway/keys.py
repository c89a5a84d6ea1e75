"""API keys in a folder that the kubelet keeps equal to a Secret."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
RELOAD_SECONDS = 5.0
RETRY_SECONDS = 1.0
"""Between two tries while the folder cannot be read: requests with made-up keys cost no more than others then."""
KEPT_SECONDS = 60.0
"""For so long the keys that were read last hold while the folder cannot be read."""
SHORTEST_KEY = 16
"""Keys with fewer characters are ignored: they can be guessed."""
TRIES = 5
"""Of reading the folder at one request: the kubelet may replace it at any moment."""
DATA_LINK = "..data"
"""The kubelet writes each version of a volume into a folder of its own and moves this link to it."""


class ApiKeys:
    """The keys of a mounted Secret, held as hashes and compared in constant time; a changed Secret acts by itself."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._hashes: Mapping[str, bytes] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None

    def name_of(self, key: str) -> str | None:
        """Return under which name ``key`` is in the Secret; None: it is not."""
        now = self._clock()
        if _older(self._read_at, now, RELOAD_SECONDS) and _older(self._tried_at, now, RETRY_SECONDS):
            self._tried_at = now
            self._reload(now)
        if _older(self._read_at, now, KEPT_SECONDS):
            self._hashes = {}
        offered = hashlib.sha256(key.encode()).digest()
        matches = [name for name, known in self._hashes.items() if hmac.compare_digest(offered, known)]
        return matches[0] if matches else None

    def _reload(self, now: float) -> None:
        try:
            self._hashes, self._read_at = _read(self._folder), now
        except OSError as error:
            log.warning(
                "the folder of API keys cannot be read now: %s",
                type(error).__name__,
                extra=event("ApiKeysUnreadable", error=type(error).__name__),
            )


def _older(time: float | None, now: float, seconds: float) -> bool:
    return time is None or now - time >= seconds


def _read(folder: Path) -> Mapping[str, bytes]:
    """Return the hashes of one version of the folder's keys, by name. Raises ``OSError`` when every try fell into a replacement."""
    link = folder / DATA_LINK
    if not link.is_symlink():
        return _hashes(folder)
    for left in reversed(range(TRIES)):
        version = link.resolve()
        try:
            found = _hashes(version)
            # A folder that is being removed may list too few files without any error.
            if link.resolve() == version:
                return found
        except OSError:
            if not left:
                raise
    raise OSError("the folder was replaced at every try")


def _hashes(folder: Path) -> Mapping[str, bytes]:
    hashes = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.is_dir():
            continue
        key = path.read_bytes().strip()
        if len(key) < SHORTEST_KEY:
            log.warning(
                "API key %s has fewer than %d characters and is ignored",
                path.name,
                SHORTEST_KEY,
                extra=event("ApiKeyIgnored", key=path.name, least=SHORTEST_KEY),
            )
            continue
        hashes[path.name] = hashlib.sha256(key).digest()
    return hashes
