"""A server that answers as a test says, where an exchange and an MLflow cannot be made to: it records what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from tunegate.cli.exchange import Address

Answer = tuple[int, str, bytes]
"""Status, type and body."""
PAGE: Answer = (200, "text/html", b"<title>MLflow</title>")


@dataclass
class Double:
    """What it answers by path, and what it was asked: each path as it came, with the token."""

    host: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    taken: set[str] | None = None
    """Tokens that are taken; None: all."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def address(self, token: Callable[[], str] = lambda: "token") -> Address:
        return Address(self.host, None, True, token)


class _Server(ThreadingHTTPServer):
    double: Double


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        double = cast("_Server", self.server).double
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        double.asked.append((self.path, token))
        status, kind, body = double.answers.get(self.path.partition("?")[0], PAGE)
        if double.taken is not None and token not in double.taken:
            status, kind, body = 401, "application/json", b'{"error": {"message": "the token has expired"}}'
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def running_double() -> Iterator[Double]:
    """Start it."""
    server = _Server(("127.0.0.1", 0), _Request)
    server.double = Double(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.double
    finally:
        server.shutdown()
        server.server_close()
