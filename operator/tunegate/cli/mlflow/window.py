"""`tunegate mlflow`: a port of this machine that passes a browser's questions on to the exchange, with the person's token.

The address holds a key that the browser keeps as a cookie: other people and pages on this machine read nothing by it.
"""

from __future__ import annotations

import hmac
import secrets
import sys
import webbrowser
from argparse import Namespace
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, urlsplit

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli import exchange
from tunegate.cli.cluster import Cluster
from tunegate.cli.exchange import Exchange
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.cli.reference import JOB, Reference, needed

KEY_BYTES = 24
LARGEST_QUESTION = 1024 * 1024
SENT_ON = ("Accept", "Content-Type", "If-Modified-Since", "If-None-Match")
LEFT_OUT = ("connection", "content-encoding", "content-length", "date", "server", "transfer-encoding")
"""Headers of an answer that belong to one connection, or that the server here writes itself."""


def show(cluster: Cluster, options: Namespace) -> int:
    """Serve until the person ends it. Raises ``CommandFailure`` where MLflow is not opened to them."""
    page = _page(cluster, options.subject, options.namespace or cluster.namespace)
    door = Exchange(exchange.address(options))
    door.mlflow("GET", "version")
    try:
        server = Window(options.port, door)
    except OSError as error:
        raise CommandFailure(f"port {options.port} of this machine cannot be used: {error.strerror}") from error
    address = f"{server.address}/?key={server.key}{page}"
    print(address, flush=True)
    print("MLflow stays open until you press Ctrl-C.", file=sys.stderr)
    if not options.no_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
        door.close()
    return 0


def _page(cluster: Cluster, named: Reference | None, namespace: str) -> str:
    if named is None:
        return "#/experiments"
    if named.kind == JOB:
        run = needed(cluster, FineTuneJob, named.name, namespace).status.mlflow_run_id
        found = f"#/runs/{run}" if run else ""
    else:
        status = needed(cluster, ModelRelease, named.name, namespace).status
        found = f"#/models/{status.mlflow_model}/versions/{status.mlflow_version}" if status.mlflow_version else ""
    if not found:
        raise CommandFailure(f"{named} is not in MLflow: `tunegate describe {named}` says why at LineageRecorded")
    return found


class Window(ThreadingHTTPServer):
    """The port. Everything beyond the first address needs the cookie that it sets."""

    daemon_threads = True

    def __init__(self, port: int, door: Exchange) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.door = door
        self.key = secrets.token_urlsafe(KEY_BYTES)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.cookie = f"tunegate-{self.server_address[1]}"
        """Browsers send the cookies of one port of a machine to all its ports."""
        self.hosts = tuple(f"{name}:{self.server_address[1]}" for name in ("127.0.0.1", "localhost"))

    def opened_by(self, given: str) -> bool:
        """Tell whether this is the key."""
        return hmac.compare_digest(given.encode(), self.key.encode())


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Pass the question on, or take the key of the first address."""
        window, given = self._window, urlsplit(self.path)
        if self.headers.get("Host") not in window.hosts:
            self._say(403, "this is not the address that `tunegate mlflow` printed")
        elif window.opened_by(self._cookie()):
            self._pass_on(None)
        elif given.path == "/" and window.opened_by(parse_qs(given.query).get("key", [""])[0]):
            # A browser keeps the part behind # when it follows.
            cookie = f"{window.cookie}={window.key}; HttpOnly; SameSite=Strict; Path=/"
            self._answer(303, {"Location": "/", "Set-Cookie": cookie, "Referrer-Policy": "no-referrer"}, b"")
        else:
            self._say(403, "open the whole address that `tunegate mlflow` printed")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Pass a question with a body on."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Host") not in self._window.hosts or not self._window.opened_by(self._cookie()):
            self.close_connection = True
            self._say(403, "open the whole address that `tunegate mlflow` printed")
        elif not length.isdigit() or int(length) > LARGEST_QUESTION:
            self.close_connection = True
            self._say(413, "a question to MLflow says its length and has at most 1 MiB")
        else:
            self._pass_on(self.rfile.read(int(length)))

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet: the terminal is the person's."""

    @property
    def _window(self) -> Window:
        return cast("Window", self.server)

    def _cookie(self) -> str:
        try:
            kept = SimpleCookie(self.headers.get("Cookie", "")).get(self._window.cookie)
        except CookieError:
            return ""
        return kept.value if kept is not None else ""

    def _pass_on(self, body: bytes | None) -> None:
        headers = {name: self.headers[name] for name in SENT_ON if name in self.headers}
        try:
            answer = self._window.door.mlflow(self.command, self.path.lstrip("/"), headers, body)
        except CommandFailure as error:
            self._say(403 if isinstance(error, Forbidden) else 502, str(error))
            return
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in LEFT_OUT}
        self._answer(answer.status_code, kept, answer.content)

    def _say(self, status: int, text: str) -> None:
        self._answer(status, {"Content-Type": "text/plain; charset=utf-8"}, f"{text}\n".encode())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
