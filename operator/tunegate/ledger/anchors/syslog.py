"""Syslog as an anchor: each checkpoint is a message (RFC 5424) that the site's log servers keep.

Over TLS or TCP it is framed by its length (RFC 5425, RFC 6587). It cannot be read back: whoever keeps the logs gives the
message's text to the auditor, as a file `checkpoint-….json`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from tunegate.api.conditions import rfc3339
from tunegate.deadlines import ANCHOR_SECONDS, Threads
from tunegate.errors import Transient
from tunegate.ledger.anchors.places import Checkpoint
from tunegate.ledger.comparison import Anchor

PRIORITY = 13 * 8 + 5
"""Facility "log audit", severity "notice"."""
CONNECT_SECONDS = 10.0


class SyslogAnchor:
    """Sends to `tls://host:port`, `tcp://host:port` or `udp://host:port`. Over UDP nobody notices when a message is lost."""

    name = "syslog"
    takes_tokens = False

    def __init__(
        self, url: str, ca_file: Path | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._scheme, self._address = parts.scheme, (parts.hostname or "", parts.port or 0)
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(ca_file)
        self._clock = clock
        self._threads = Threads(url, 2)

    async def keep(self, checkpoint: Checkpoint) -> None:
        message = f"<{PRIORITY}>1 {rfc3339(self._clock())} {socket.gethostname()} tunegate-operator - checkpoint - {checkpoint.text}"
        try:
            await self._threads.call(ANCHOR_SECONDS, self._send, message.encode())
        except OSError as error:
            raise Transient(f"{self._url} does not take it: {error.strerror or type(error).__name__}") from error

    async def read(self) -> list[Anchor]:
        """Return nothing: logs are not asked."""
        return []

    def _send(self, message: bytes) -> None:
        if self._scheme == "udp":
            self._send_datagram(message)
            return
        framed = b"%d %b" % (len(message), message)
        with socket.create_connection(self._address, CONNECT_SECONDS) as plain:
            if self._scheme == "tcp":
                plain.sendall(framed)
                return
            with self._tls.wrap_socket(plain, server_hostname=self._address[0]) as protected:
                protected.sendall(framed)
                # Many log servers close without a close_notify. They have the message then, so it is not sent again.
                with suppress(OSError):
                    protected.unwrap()

    def _send_datagram(self, message: bytes) -> None:
        """Send to the first address of the server that this host has a way to. Raises ``OSError``."""
        refused = OSError(f"{self._address[0]} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind, protocol) as plain:
                    plain.settimeout(CONNECT_SECONDS)
                    plain.sendto(message, address)
                    return
            except OSError as error:
                refused = error
        raise refused
