"""`tunegate mlflow`: a port of this machine that passes a browser's questions on to the exchange, with the person's token.

The address holds a key that opens the port once. The browser then keeps a cookie of another value: other people and pages on this
machine read nothing, even if they see the address later.
"""

from __future__ import annotations

import hmac
import secrets
import sys
import threading
from argparse import Namespace
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from typing import cast
from urllib.parse import parse_qs

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli import exchange, private_page
from tunegate.cli.cluster import Cluster
from tunegate.cli.exchange import Exchange
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.cli.loopback import LoopbackServer
from tunegate.cli.mlflow.paths import leads_elsewhere
from tunegate.cli.reference import JOB, Reference, needed

KEY_BYTES = 24
LARGEST_QUESTION = 1024 * 1024
SENT_ON = ("Accept", "Content-Type", "If-Modified-Since", "If-None-Match")
LEFT_OUT = ("connection", "content-encoding", "content-length", "date", "server", "transfer-encoding")
"""Headers of an answer that belong to one connection, or that the server here writes itself."""
NOT_OPENED = "open the whole address that `tunegate mlflow` printed; it opens one browser once. For another browser end the command and run it again"
GO_ON = (
    b"<!doctype html><title>MLflow</title><script>location.replace('/' + location.hash)</script>"
    b"<noscript>MLflow's pages need scripts.</noscript>"
)
"""The part behind # is the page that was asked for."""


def show(cluster: Cluster, options: Namespace) -> int:
    """Serve until the person ends it. Raises ``CommandFailure`` where MLflow is not opened to them."""
    page = _page(cluster, options.subject, options.namespace or cluster.namespace)
    door = Exchange(exchange.address(options))
    door.need_mlflow()
    try:
        server = Window(options.port, door)
    except OSError as error:
        raise CommandFailure(f"port {options.port} of this machine cannot be used: {error.strerror}") from error
    address = f"{server.address}/?key={server.key}{page}"
    print(address, flush=True)
    print("If no browser shows it, open the address yourself: it opens MLflow in one browser, once.", file=sys.stderr)
    print("MLflow stays open until you press Ctrl-C.", file=sys.stderr)
    try:
        with nullcontext() if options.no_browser else private_page.opened(address):
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


class Window(LoopbackServer):
    """The port. The key opens the first page once, the cookie that this sets opens everything else."""

    def __init__(self, port: int, door: Exchange) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.door = door
        self.key = secrets.token_urlsafe(KEY_BYTES)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.cookie = f"tunegate-{self.server_address[1]}"
        """Browsers send the cookies of one port of a machine to all its ports."""
        self.hosts = tuple(f"{name}:{self.server_address[1]}" for name in ("127.0.0.1", "localhost"))
        self.opening = secrets.token_urlsafe(KEY_BYTES)
        """The cookie's value."""
        self._used = False
        self._using = threading.Lock()

    def opened_by(self, cookies: list[str]) -> bool:
        """Tell whether one of the headers `Cookie` has our cookie. Pairs of other servers are not looked at, whatever their form."""
        pairs = [pair.partition("=") for header in cookies for pair in header.split(";")]
        return any(name.strip() == self.cookie and _same(value.strip(), self.opening) for name, _, value in pairs)

    def use(self, key: str) -> bool:
        """Tell whether this is the key and nobody has used it; from now on somebody has."""
        with self._using:
            first = _same(key, self.key) and not self._used
            self._used = self._used or first
            return first


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Pass the question on, or take the key of the first address."""
        window = self._window
        path, _, query = self.path.partition("?")
        keys = parse_qs(query).get("key") if path == "/" else None
        opened = window.opened_by(self.headers.get_all("Cookie", []))
        if self.headers.get("Host") not in window.hosts:
            self._say(403, "this is not the address that `tunegate mlflow` printed")
        elif keys and (opened or (self.command == "GET" and window.use(keys[0]))):
            self._go_on()
        elif opened:
            self._pass_on(None)
        else:
            self._say(403, NOT_OPENED)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Pass a question with a body on."""
        length = self.headers.get("Content-Length", "")
        opened = self._window.opened_by(self.headers.get_all("Cookie", []))
        if self.headers.get("Host") not in self._window.hosts or not opened:
            self.close_connection = True
            self._say(403, NOT_OPENED)
        elif not length.isdecimal() or int(length) > LARGEST_QUESTION:
            self.close_connection = True
            self._say(413, "a question to MLflow says its length and has at most 1 MiB")
        else:
            self._pass_on(self.rfile.read(int(length)))

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet: the terminal is the person's."""

    @property
    def _window(self) -> Window:
        return cast("Window", self.server)

    def _go_on(self) -> None:
        """Give the cookie on a page that goes on by itself.

        A redirect would go on without the cookie where the first step came from another site, such as a file: SameSite=Strict.
        """
        window = self._window
        headers = {
            "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
            "Set-Cookie": f"{window.cookie}={window.opening}; HttpOnly; SameSite=Strict; Path=/",
        }  # fmt: skip
        self._answer(200, headers, GO_ON)

    def _pass_on(self, body: bytes | None) -> None:
        if leads_elsewhere(self.path):
            self._say(400, "this path is not one of MLflow's")
            return
        headers = {name: self.headers[name] for name in SENT_ON if name in self.headers}
        try:
            answer = self._window.door.mlflow(self.command, self.path.removeprefix("/"), headers, body)
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
