"""The server's certificate: TLS 1.2 and newer, and a rotated Secret is taken over while connections go on."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
RELOAD_SECONDS = 10.0


class Certificate:
    """The certificate in ``folder``: `tls.crt` with its chain, `tls.key`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded = self._read()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        """Connections that begin use what was loaded last."""
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._load(self.context)

    def _read(self) -> tuple[bytes, bytes]:
        return (self._folder / "tls.crt").read_bytes(), (self._folder / "tls.key").read_bytes()

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key", password=_no_password)

    def reload(self) -> bool:
        """Take over what the folder holds now; tell whether it is new. A pair that does not fit leaves the old one."""
        try:
            found = self._read()
            if found == self._loaded:
                return False
            self._load(
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            )  # A pair that fails here has not touched the one in use.
            self._load(self.context)
        except (OSError, ValueError) as error:
            log.error(
                "the new certificate cannot be used, the old one stays: %s",
                type(error).__name__,
                extra=event("CertificateUnusable", error=type(error).__name__),
            )
            return False
        self._loaded = found
        log.info("a new certificate is in use", extra=event("CertificateChanged"))
        return True

    async def follow(self) -> None:
        """Take over every change, forever."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            self.reload()


def _no_password() -> str:
    """A key with a password would make OpenSSL ask for it on a terminal that is not there."""
    raise ValueError("the key has a password")
