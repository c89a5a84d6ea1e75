"""Credentials for a registry that trusts the operator's signature: one token, a few repositories, a few hours.

The registry (CNCF distribution) verifies a JSON Web Token itself, offline: signature against a certificate that it was
given, issuer, audience, time and the list of repositories. The operator signs what a stage may do and puts the token into a
Docker configuration file as ``registrytoken``, which clients send as it is. People get theirs from ``tunegate.exchange``.
Format: https://distribution.github.io/distribution/spec/auth/jwt/ (distribution v3.0.0 reads the ``x5c`` header).
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

Action = Literal["pull", "push", "delete", "*"]

ISSUER = "tunegate-operator"
"""What the registry's configuration names as ``auth.token.issuer``."""
SERVICE = "tunegate-registry"
"""What the registry's configuration names as ``auth.token.service``: the audience of every token."""
CLOCK_SKEW = timedelta(minutes=5)
"""Tokens are valid from so long before they are made; the registry itself adds one minute at both ends."""
PROGRAM_LIFETIME = timedelta(minutes=15)
WRITTEN = ("/statement", "/adapter")
"""The only repositories that the operator itself writes end so: release statements, and signatures beside an adapter."""


@dataclass(frozen=True)
class Access:
    """What may be done with one repository, or with the registry as a whole."""

    repository: str
    actions: tuple[Action, ...]
    type: Literal["repository", "registry"] = "repository"


CATALOG = Access("catalog", ("*",), type="registry")
"""Knowing what there is. The name is that of distribution."""


@dataclass(frozen=True)
class TokenSigner:
    """The private key and the certificate that the registry trusts."""

    key: RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def from_files(cls, key: Path, certificate: Path) -> TokenSigner:
        """Read PEM files. Raises ``OSError`` or ``ValueError`` for files that are missing or hold no RSA key."""
        private = load_pem_private_key(key.read_bytes(), password=None)
        if not isinstance(private, RSAPrivateKey):
            raise ValueError(f"{key}: the registry's signing key must be an RSA key, this is another kind")
        return cls(private, x509.load_pem_x509_certificate(certificate.read_bytes()))

    def sign(self, access: Sequence[Access], *, subject: str, lifetime: timedelta, now: datetime) -> str:
        """Return a token for exactly ``access``, from ``now`` (UTC) for ``lifetime``; ``subject`` shows in the logs."""
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "nbf": int((now - CLOCK_SKEW).timestamp()),
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "jti": uuid.uuid4().hex,
            "access": [{"type": a.type, "name": a.repository, "actions": list(a.actions)} for a in access],
        }
        chain = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"x5c": [chain]})


def grants(token: str, certificate: x509.Certificate, access: Access) -> bool:
    """Tell whether a token is valid now, signed by the key of ``certificate``, and allows all of ``access``."""
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return False
    try:
        claims = jwt.decode(
            token, key, algorithms=["RS256"], audience=SERVICE, issuer=ISSUER, options={"require": ["exp"]}
        )
    except jwt.InvalidTokenError:
        return False
    entries = claims.get("access")
    return isinstance(entries, list) and any(
        isinstance(one, dict)
        and (one.get("type"), one.get("name")) == (access.type, access.repository)
        and set(access.actions) <= set(one.get("actions") or ())
        for one in entries
    )


def docker_config(host: str, token: str) -> str:
    """Return a Docker configuration file that makes clients send ``token`` to ``host``."""
    return json.dumps({"auths": {host: {"registrytoken": token}}}, indent=2) + "\n"


def mint(
    signer: TokenSigner, host: str, access: Sequence[Access], *, subject: str, lifetime: timedelta, now: datetime
) -> str:
    """Return the Docker configuration file of a stage or a server: a token for exactly these repositories."""
    return docker_config(host, signer.sign(access, subject=subject, lifetime=lifetime, now=now))


def expiry(config: str, host: str) -> datetime | None:
    """Return when the token inside a Docker configuration ends (UTC), or None if it holds no token for ``host``.

    Anyone who can write the Secret decides what it holds: anything that is no such configuration holds no token. The
    signature is not checked: this is for deciding when to write a new one, never for trusting the old one.
    """
    try:
        token = json.loads(config)["auths"][host]["registrytoken"]
        claims = jwt.decode(token, options={"verify_signature": False})
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (jwt.InvalidTokenError, LookupError, TypeError, ValueError, OverflowError, OSError, RecursionError):
        return None


def names(config: str, host: str, access: Sequence[Access]) -> bool:
    """Tell whether the token inside a Docker configuration says that it opens all of ``access``; unchecked, as in ``expiry``."""
    try:
        token = json.loads(config)["auths"][host]["registrytoken"]
        entries = jwt.decode(token, options={"verify_signature": False})["access"]
        opened = {(one["type"], one["name"], action) for one in entries for action in one["actions"]}
    except (jwt.InvalidTokenError, LookupError, TypeError, ValueError, RecursionError):
        return False
    return all((one.type, one.repository, action) in opened for one in access for action in one.actions)


def operator_writes(repository: str) -> bool:
    """Tell whether the operator itself writes a repository."""
    return repository.endswith(WRITTEN)


class ProgramCredential:
    """A program's own access: reads every repository, writes those that ``writes`` names. Safe to share by threads.

    Call it with a repository to get a token for it; tokens are kept until two thirds of their life are over.
    """

    def __init__(
        self,
        signer: TokenSigner,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        subject: str = ISSUER,
        writes: Callable[[str], bool] = operator_writes,
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._subject = subject
        self._writes = writes
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[datetime, str]] = {}

    def __call__(self, repository: str) -> str:
        now = self._clock()
        with self._lock:
            until, token = self._kept.get(repository, (now, ""))
            if until > now:
                return token
            actions: tuple[Action, ...] = ("pull", "push") if self._writes(repository) else ("pull",)
            token = self._signer.sign(
                [Access(repository, actions)], subject=self._subject, lifetime=PROGRAM_LIFETIME, now=now
            )
            self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > now}
            self._kept[repository] = (now + PROGRAM_LIFETIME * 2 / 3, token)
            return token
