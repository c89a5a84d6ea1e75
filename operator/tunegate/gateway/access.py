"""Who may ask: holders of an API key, or of a Kubernetes token of an allowed group. Without either nobody may."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from tunegate.api.serving import TOKEN_AUDIENCE
from tunegate.gateway.cluster import Reviewed, Unreachable
from tunegate.gateway.errors import ApiError
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
KEY_RELOAD_SECONDS = 5.0
SHORTEST_KEY = 16
"""Keys with fewer characters are ignored: they can be guessed."""
REVIEW_SECONDS = 60.0
REFUSAL_SECONDS = 10.0
REMEMBERED = 4096
REVIEWS_AT_ONCE = 8
"""Questions to the API server about tokens that were never known, and as many about those that were."""
REVIEW_PATIENCE = 5.0
SERVICE_ACCOUNT = "system:serviceaccount:"
LONGEST_TOKEN = 16_384


class ApiKeys:
    """The keys of a mounted Secret, held as hashes and compared in constant time; a changed Secret acts by itself."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._hashes: tuple[bytes, ...] = ()
        self._read_at: float | None = None

    def holds(self, key: str) -> bool:
        """Tell whether ``key`` is one of the Secret's values."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= KEY_RELOAD_SECONDS:
            self._hashes, self._read_at = self._read(), now
        offered = hashlib.sha256(key.encode()).digest()
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        return any(matches)

    def _read(self) -> tuple[bytes, ...]:
        hashes = []
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if path.name.startswith(".") or not path.is_file():
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
            hashes.append(hashlib.sha256(key).digest())
        return tuple(hashes)


class Reviewer(Protocol):
    """Who knows tokens: the API server."""

    async def review(self, token: str, audience: str) -> Reviewed:
        """Say whose token this is. Raises ``Unreachable``."""


class Access:
    """Decides about the `Authorization` header of a request."""

    def __init__(self, keys: ApiKeys, reviewer: Reviewer, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._reviewer = reviewer
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Reviewed]] = OrderedDict()
        """Reviews of tokens that the cluster knows; kept apart, so that made-up tokens push none of them out."""
        self._unknown: OrderedDict[bytes, tuple[float, Reviewed]] = OrderedDict()
        self._lanes = {known: asyncio.Semaphore(REVIEWS_AT_ONCE) for known in (True, False)}

    async def admit(self, authorization: str | None, groups: Collection[str]) -> str:
        """Return who the caller is, for fair shares. Raises ``ApiError`` 401, 403, or 503 when tokens can't be checked."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN or not token.isascii():
            raise ApiError(401, "missing_credential", "send an API key or a Kubernetes token as a bearer token")
        if self._keys.holds(token):
            return f"key:{hashlib.sha256(token.encode()).hexdigest()[:16]}"
        if not groups or token.count(".") != 2:
            raise ApiError(401, "invalid_credential", "this credential is not known here")
        reviewed = await self._review(token)
        if not reviewed.authenticated:
            raise ApiError(
                401, "invalid_credential", f"the cluster does not know this token for audience {TOKEN_AUDIENCE}"
            )
        if not set(groups) & set(reviewed.groups):
            raise ApiError(403, "not_in_group", f"{reviewed.username} is in none of this server's client groups")
        return share_of(reviewed.username)

    async def _review(self, token: str) -> Reviewed:
        """Return the token's review, at most a minute old; refusals are kept shorter."""
        now = self._clock()
        key = hashlib.sha256(token.encode()).digest()
        for reviews in (self._known, self._unknown):
            until, found = reviews.get(key, (now, None))
            if found is not None and until > now:
                return found
        try:
            async with asyncio.timeout(REVIEW_PATIENCE), self._lanes[key in self._known]:
                reviewed = await self._reviewer.review(token, TOKEN_AUDIENCE)
        except (Unreachable, TimeoutError) as error:
            log.warning(
                "a token could not be reviewed: %s",
                str(error) or "too many are being asked about",
                extra=event("TokenNotReviewed", why=str(error) or "too many are being asked about"),
            )
            raise ApiError(503, "tokens_unchecked", "tokens cannot be checked now; try again", retry_after=5) from error
        if not reviewed.authenticated:
            self._known.pop(key, None)
        reviews, seconds = (self._known, REVIEW_SECONDS) if reviewed.authenticated else (self._unknown, REFUSAL_SECONDS)
        reviews[key] = (now + seconds, reviewed)
        reviews.move_to_end(key)
        while len(reviews) > REMEMBERED:
            reviews.popitem(last=False)
        return reviewed


def share_of(username: str) -> str:
    """Return against whose share a user's requests count. Accounts of programs have one for their namespace together:
    whoever may make such accounts there can make any number."""
    if username.startswith(SERVICE_ACCOUNT):
        return f"namespace:{username.removeprefix(SERVICE_ACCOUNT).partition(':')[0]}"
    return f"user:{username}"
