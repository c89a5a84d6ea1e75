"""A company's identity provider: its published keys, fetched by OpenID Connect Discovery, and the tokens that they signed.

Sources: OpenID Connect Discovery 1.0, RFC 7517 (keys), RFC 7519 (tokens), RFC 8725 (what goes wrong with them). A token says
neither which algorithm is taken nor where a key is found: algorithms come from a closed list of asymmetric ones that fits the
kind of key, and keys only from the address that the issuer's own document names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from tunegate.api.modelserver import IdentityProvider
from tunegate.gateway.errors import ApiError
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
FETCH_SECONDS = 5.0
"""For the issuer's document and its keys together."""
REFRESH_SECONDS = 600.0
"""Between two looks at the keys."""
RETRY_SECONDS = 10.0
"""Between two looks because of a token whose key is not known, or after one that failed: made-up tokens cost the issuer no more."""
KEPT_SECONDS = 3600.0
"""For so long keys hold that cannot be read again."""
DOCUMENT_BYTES = 256 * 1024
MOST_KEYS = 64
LEEWAY_SECONDS = 30
LONGEST_NAME = 256
MOST_GROUPS = 1024
ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""By the kind of the key. A symmetric key is none: whoever checks with it could sign."""


CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True)
class SigningKey:
    """A public key, and the algorithms that it is taken with."""

    key: Any
    algorithms: tuple[str, ...]


class KeysUnread(Exception):
    """The issuer's keys cannot be read, and those that were read are too old."""


@dataclass(frozen=True)
class Person:
    """Whose token it is."""

    username: str
    groups: frozenset[str]


def issuer_of(token: str) -> str:
    """Return whom a token names as its issuer. That proves nothing, and says whom to ask; empty: nobody."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return ""
    return str(claims.get("iss", ""))


class IssuerKeys:
    """Keys of one issuer. Raises ``KeysUnread`` where they are needed and cannot be had."""

    def __init__(self, provider: IdentityProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self.provider = provider
        self._clock = clock
        self._keys: Mapping[str, SigningKey] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()

    async def key(self, name: str) -> SigningKey | None:
        """Return a key by its `kid`; None: the issuer has none of that name."""
        if self._older(self._read_at, REFRESH_SECONDS) or name not in self._keys:
            await self._refresh()
        if self._older(self._read_at, KEPT_SECONDS):
            raise KeysUnread
        return self._keys.get(name)

    async def _refresh(self) -> None:
        async with self._reading:
            if not self._older(self._tried_at, RETRY_SECONDS):
                return
            self._tried_at = self._clock()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    self._keys = await self._fetch()
                self._read_at = self._clock()
            except (
                aiohttp.ClientError,
                TimeoutError,
                OSError,
                ValueError,
                KeyError,
                TypeError,
                jwt.PyJWTError,
            ) as error:
                log.warning(
                    "the keys of the identity provider %s cannot be read: %s",
                    self.provider.issuer,
                    type(error).__name__,
                    extra=event("IssuerKeysUnread", issuer=self.provider.issuer, error=type(error).__name__),
                )

    def _older(self, moment: float | None, seconds: float) -> bool:
        return moment is None or self._clock() - moment >= seconds

    async def _fetch(self) -> Mapping[str, SigningKey]:
        issuer = self.provider.issuer
        authority = self.provider.certificate_authority
        trust = ssl.create_default_context(cadata=authority) if authority is not None else ssl.create_default_context()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
            document = await _read(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if document["issuer"] != issuer:
                raise ValueError("the document is another issuer's")
            address = str(document["jwks_uri"])
            if not address.startswith("https://"):
                raise ValueError("keys are read over https only")
            found = await _read(http, address)
        return _understood(found["keys"])


async def _read(http: aiohttp.ClientSession, address: str) -> dict[str, Any]:
    async with http.get(address, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError("the answer is no document")
        raw = await answer.content.read(DOCUMENT_BYTES + 1)
        while len(raw) <= DOCUMENT_BYTES and (more := await answer.content.read(DOCUMENT_BYTES)):
            raw += more
    if len(raw) > DOCUMENT_BYTES:
        raise ValueError("the document is too large")
    document = json.loads(raw)
    if not isinstance(document, dict):
        raise ValueError("the answer is no document")
    return document


def _understood(keys: Any) -> dict[str, SigningKey]:
    """Return the keys that sign by their names. Those of kinds, curves or forms that are not known are ignored (RFC 7517, section 5).

    Raises ``TypeError`` where there is no list.
    """
    found: dict[str, SigningKey] = {}
    for key in keys[:MOST_KEYS]:
        with contextlib.suppress(jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
            if _signs(key):
                name, usable = _usable(key)
                found[name] = usable
    return found


def _signs(key: Any) -> bool:
    return isinstance(key, dict) and key.get("kty") in ALGORITHMS and key.get("use", "sig") == "sig" and "kid" in key


def _usable(document: Mapping[str, Any]) -> tuple[str, SigningKey]:
    """Return a key by its name. Raises ``jwt.PyJWTError``, ``KeyError``, ``TypeError``, ``ValueError``, ``AttributeError``."""
    kind, own = document["kty"], document.get("alg")
    fitting = (CURVES[document["crv"]],) if kind == "EC" else ALGORITHMS[kind]
    taken = fitting if own is None else tuple(name for name in fitting if name == own)
    return str(document["kid"]), SigningKey(jwt.PyJWK(dict(document), algorithm=fitting[0]).key, taken)


class IdentityProviders:
    """Checks tokens of the provider that the server's routes name now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: IssuerKeys | None = None

    async def person(self, token: str, provider: IdentityProvider) -> Person:
        """Return whose token it is. Raises ``ApiError`` 401, 403 outside the groups, 503 if it can't be checked."""
        if self._keys is None or self._keys.provider != provider:
            self._keys = IssuerKeys(provider, self._clock)
        try:
            claims = await self._claims(token, provider, self._keys)
        except KeysUnread as error:
            raise ApiError(503, "tokens_unchecked", "tokens cannot be checked now; try again", retry_after=5) from error
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise ApiError(401, "invalid_credential", _why(error)) from error
        username = claims.get(provider.username_claim)
        if not isinstance(username, str) or not 0 < len(username) <= LONGEST_NAME or not username.isprintable():
            raise ApiError(401, "invalid_credential", f"the token names nobody in its claim {provider.username_claim}")
        person = Person(username, _groups(claims.get(provider.groups_claim)))
        if provider.groups and not person.groups & set(provider.groups):
            raise ApiError(403, "not_in_group", f"{username} is in none of this server's client groups")
        return person

    @staticmethod
    async def _claims(token: str, provider: IdentityProvider, keys: IssuerKeys) -> Mapping[str, Any]:
        head = jwt.get_unverified_header(token)
        name = head.get("kid")
        if not isinstance(name, str) or "crit" in head:
            raise jwt.InvalidTokenError
        found = await keys.key(name)
        if found is None:
            raise jwt.InvalidTokenError
        return jwt.decode(
            token, found.key, algorithms=list(found.algorithms), audience=provider.audience, issuer=provider.issuer,
            leeway=LEEWAY_SECONDS, options={"require": ["exp", "iss", "aud"]},
        )  # fmt: skip


def _groups(claim: Any) -> frozenset[str]:
    named = claim if isinstance(claim, list) else [claim]
    return frozenset(one for one in named[:MOST_GROUPS] if isinstance(one, str))


def _why(error: Exception) -> str:
    """Say what a person can mend. What is wrong with a signature is not told."""
    if isinstance(error, jwt.ExpiredSignatureError):
        return "this token is over: get a new one"
    if isinstance(error, jwt.InvalidAudienceError):
        return "this token is for another audience"
    return "this token is not valid here"
