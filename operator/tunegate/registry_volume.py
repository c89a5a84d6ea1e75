"""`python -m tunegate registry-volume`: says what lies on the registry's volume and how full that is, beside the registry.

CNCF distribution tells neither: its protocol names no manifest without a tag, and it measures no room. This program reads the
volume, which it has mounted read-only, and answers the operator alone: whoever brings no token of its key gets nothing.
"""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cryptography import x509

from tunegate.listening import EveryAddressServer
from tunegate.logs import JsonLines, event
from tunegate.registry import volume_files
from tunegate.registry.stored import Room, StockEnd
from tunegate.registry.tokens import CATALOG, grants

logger = logging.getLogger(__name__)

PORT = 5001
COUNTED_SECONDS = 300.0
"""How long a count of all bytes is used again: it reads every manifest. The free room is read each time."""
READ_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Mounted:
    """What the pod mounts."""

    volume: Path = Path("/var/lib/registry")
    token_certificate: Path = Path("/etc/tunegate/token/tls.crt")
    tls: Path | None = Path("/etc/tunegate/tls")
    """Folder with `tls.crt` and `tls.key`; None: plain HTTP, for tests."""


class _Counts:
    """The last count, made again when it is old."""

    def __init__(self, volume: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._volume = volume
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: tuple[float, Room] | None = None

    def room(self) -> Room:
        """Return how full the volume is. Raises ``OSError``."""
        with self._lock:
            if self._counted is None or self._clock() - self._counted[0] > COUNTED_SECONDS:
                self._counted = (self._clock(), volume_files.room(self._volume, datetime.now(UTC)))
            total, free = volume_files.disk(self._volume)
            return self._counted[1].model_copy(update={"total": total, "free": free})


def serve(mounted: Mounted, port: int = PORT) -> EveryAddressServer:
    """Start answering and return the server; ``shutdown()`` stops it. Raises ``OSError`` or ``ValueError`` for its files."""
    key = x509.load_pem_x509_certificate(mounted.token_certificate.read_bytes())
    counts = _Counts(mounted.volume)

    class Handler(BaseHTTPRequestHandler):
        timeout = READ_TIMEOUT_SECONDS

        def do_GET(self) -> None:
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not grants(token, key, CATALOG):
                self._answer(401, b"only the operator reads the registry's volume\n")
            elif self.path == "/room":
                self._answer(200, counts.room().model_dump_json(by_alias=True).encode())
            elif self.path == "/manifests":
                self._lines(_stock(mounted.volume))
            else:
                self._answer(404, b"there are /room and /manifests\n")

        def _answer(self, code: int, content: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _lines(self, lines: Iterator[str]) -> None:
            """Send lines as they come; the end of the connection ends the answer, and its last line tells a whole one."""
            self.send_response(200)
            self.end_headers()
            for line in lines:
                self.wfile.write(line.encode() + b"\n")

        def log_message(self, format: str, *args: object) -> None:
            """The operator asks every minute: that is not logged."""

    class Server(EveryAddressServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Who asked gets no whole answer; the log says why."""
            error = sys.exc_info()[1]
            cause = type(error).__name__
            logger.warning("a request was not answered", extra=event("VolumeUnread", cause=cause, error=str(error)))

    server = Server(port, Handler)
    if mounted.tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(mounted.tls / "tls.crt", mounted.tls / "tls.key")
        # Each connection's own thread shakes hands, so that a silent client holds up nobody else.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, name="registry-volume", daemon=True).start()
    return server


def _stock(volume: Path) -> Iterator[str]:
    count = 0
    for stored in volume_files.manifests(volume):
        yield stored.model_dump_json(by_alias=True)
        count += 1
    yield StockEnd(manifests_listed=count).model_dump_json(by_alias=True)


def main() -> int:
    """Answer until the process is ended."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    serve(Mounted())
    while True:
        time.sleep(3600)
