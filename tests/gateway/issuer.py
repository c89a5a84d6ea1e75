"""An identity provider on this machine: OpenID Connect Discovery and keys over TLS, and tokens signed with them."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.certificates import write_localhost_certificate
from tests.support.ports import free_port
from tunegate.api.modelserver import IdentityProvider

AUDIENCE = "models"
RSA_KEY, OTHER_KEY, EC_KEY = (
    rsa.generate_private_key(65537, 2048),
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
)


def private(key: Any) -> bytes:
    """Return a key as PyJWT signs with it."""
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_pem(key: Any) -> bytes:
    """Return what everybody may know of a key."""
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def published(key: Any, name: str, **more: Any) -> dict[str, Any]:
    """Return a key as an issuer publishes it."""
    kind = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig", **more}


class Issuer:
    """What it publishes can be changed, and looks at it are counted."""

    def __init__(self, address: str, certificate_authority: str) -> None:
        self.address = address
        self.provider = IdentityProvider(issuer=address, audience=AUDIENCE, certificate_authority=certificate_authority)
        self.keys: list[dict[str, Any]] = [published(RSA_KEY, "first")]
        self.document: dict[str, Any] = {"issuer": address, "jwks_uri": f"{address}/keys"}
        self.asked = 0
        self.away = False

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims, with changes; None leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.address, "aud": AUDIENCE, "sub": "anna", "groups": ["analysts"], "iat": now, "exp": now + 300,
            **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, key: Any = RSA_KEY, algorithm: str = "RS256", head: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """Return a signed token."""
        return jwt.encode(self.claims(**changes), private(key), algorithm, {"kid": "first", **(head or {})})

    async def discovery(self, _: web.Request) -> web.Response:
        """Answer with the issuer's document."""
        self.asked += 1
        return web.Response(status=503) if self.away else web.json_response(self.document)

    async def published(self, _: web.Request) -> web.Response:
        """Answer with the keys."""
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def issuer(folder: Path) -> AsyncIterator[Issuer]:
    """Run an identity provider until the block ends, with its certificate in ``folder``."""
    written = write_localhost_certificate(folder, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    port = free_port()
    running = Issuer(f"https://localhost:{port}", written[0].read_text())
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", running.discovery)
    app.router.add_get("/keys", running.published)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "localhost", port, ssl_context=context).start()
    try:
        yield running
    finally:
        await runner.cleanup()
