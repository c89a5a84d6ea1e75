"""Who may ask: holders of an API key, of a Kubernetes token of an allowed group, or of a company's token. Else nobody may."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Protocol

from tunegate.api.modelserver import IdentityProvider
from tunegate.api.serving import TOKEN_AUDIENCE
from tunegate.api.shared import SERVICE_ACCOUNT
from tunegate.gateway.cluster import Reviewed, Unreachable
from tunegate.gateway.errors import ApiError
from tunegate.gateway.identity_provider import IdentityProviders, issuer_of
from tunegate.gateway.keys import ApiKeys
from tunegate.gateway.shares import Shares
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
REVIEW_SECONDS = 60.0
"""For so long a review holds."""
REFUSAL_SECONDS = 10.0
"""For so long a refusal holds."""
REMEMBERED = 4096
REVIEWS_AT_ONCE = 8
"""Questions to the API server about tokens that were never known, and as many about those that were."""
REVIEW_PATIENCE = 5.0
"""Seconds that a request waits for the review of its token."""
REFUSAL_COST_SECONDS = 0.5
"""So long a refused token keeps its place among the questions: made-up tokens cost the API server at most 16 a second."""
LONGEST_TOKEN = 16_384


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
        self._providers = IdentityProviders(clock)
        self._known: OrderedDict[bytes, tuple[float, Reviewed]] = OrderedDict()
        """Reviews of tokens that the cluster knows; kept apart, so that made-up tokens push none of them out."""
        self._unknown: OrderedDict[bytes, tuple[float, Reviewed]] = OrderedDict()
        self._again = asyncio.Semaphore(REVIEWS_AT_ONCE)
        """Places for questions about tokens that were known."""
        self._first = Shares("token reviews", REVIEWS_AT_ONCE, REVIEWS_AT_ONCE // 2, REVIEW_PATIENCE, line=256)
        """Places for questions about other tokens, shared by the addresses that send them."""

    async def admit(
        self,
        authorization: str | None,
        groups: Collection[str],
        address: str,
        provider: IdentityProvider | None = None,
    ) -> str:
        """Return who the caller is: for shares, quotas and metrics. Raises ``ApiError`` 401, 403, 429, or 503 if tokens can't be checked.

        ``address``: where the connection comes from. Nobody there can use up the questions about tokens for others.
        ``provider``: whose tokens are taken beside the cluster's.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN or not token.isascii():
            raise ApiError(401, "missing_credential", "send an API key or a token as a bearer token")
        if (name := self._keys.name_of(token)) is not None:
            return f"key:{name}"
        if provider is not None and token.count(".") == 2 and issuer_of(token) == provider.issuer:
            return f"user:{(await self._providers.person(token, provider)).username}"
        if not groups or token.count(".") != 2:
            raise ApiError(401, "invalid_credential", "this credential is not known here")
        if not claims_audience(token, TOKEN_AUDIENCE):
            raise ApiError(401, "invalid_credential", f"this is no token for audience {TOKEN_AUDIENCE}")
        reviewed = await self._review(token, address)
        if not reviewed.authenticated:
            raise ApiError(
                401, "invalid_credential", f"the cluster does not know this token for audience {TOKEN_AUDIENCE}"
            )
        if not set(groups) & set(reviewed.groups):
            raise ApiError(403, "not_in_group", f"{reviewed.username} is in none of this server's client groups")
        return share_of(reviewed.username)

    async def _review(self, token: str, address: str) -> Reviewed:
        """Return the token's review, at most a minute old; refusals are kept shorter."""
        key = hashlib.sha256(token.encode()).digest()
        if (found := self._remembered(key)) is not None:
            return found
        try:
            if key in self._known:
                async with asyncio.timeout(REVIEW_PATIENCE), self._again:
                    return self._remembered(key) or self._remember(key, await self._ask(token))
            return await self._review_first(token, key, address)
        except (Unreachable, TimeoutError) as error:
            log.warning(
                "a token could not be reviewed: %s",
                str(error) or "too many are being asked about",
                extra=event("TokenNotReviewed", why=str(error) or "too many are being asked about"),
            )
            raise ApiError(503, "tokens_unchecked", "tokens cannot be checked now; try again", retry_after=5) from error

    async def _review_first(self, token: str, key: bytes, address: str) -> Reviewed:
        give_back = await self._first.take(address, 1)
        held_seconds = 0.0
        try:
            if (found := self._remembered(key)) is not None:
                return found
            held_seconds = REFUSAL_COST_SECONDS
            async with asyncio.timeout(REVIEW_PATIENCE):
                reviewed = self._remember(key, await self._ask(token))
            held_seconds = 0.0 if reviewed.authenticated else REFUSAL_COST_SECONDS
            return reviewed
        finally:
            asyncio.get_running_loop().call_later(held_seconds, give_back)

    async def _ask(self, token: str) -> Reviewed:
        return await self._reviewer.review(token, TOKEN_AUDIENCE)

    def _remembered(self, key: bytes) -> Reviewed | None:
        now = self._clock()
        for reviews in (self._known, self._unknown):
            until, found = reviews.get(key, (now, None))
            if found is not None and until > now:
                return found
        return None

    def _remember(self, key: bytes, reviewed: Reviewed) -> Reviewed:
        if not reviewed.authenticated:
            self._known.pop(key, None)
        reviews, seconds = (self._known, REVIEW_SECONDS) if reviewed.authenticated else (self._unknown, REFUSAL_SECONDS)
        reviews[key] = (self._clock() + seconds, reviewed)
        reviews.move_to_end(key)
        while len(reviews) > REMEMBERED:
            reviews.popitem(last=False)
        return reviewed


def claims_audience(token: str, audience: str) -> bool:
    """Tell whether a token of three parts says that it is for ``audience``. That proves nothing, and costs no question."""
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return False
    named = claims.get("aud") if isinstance(claims, dict) else None
    return audience in (named if isinstance(named, list) else [named])


def share_of(username: str) -> str:
    """Return against whose share a user's requests count. Accounts of programs have one for their namespace together:
    anyone who may make such accounts there can make any number."""
    if username.startswith(SERVICE_ACCOUNT):
        return f"namespace:{username.removeprefix(SERVICE_ACCOUNT).partition(':')[0]}"
    return f"user:{username}"
