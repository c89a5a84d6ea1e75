"""Signing in by a browser on this machine: a code with proof (PKCE), brought back to a port of loopback.

Sources: RFC 6749 (4.1), RFC 7636, RFC 8252 (7.3: loopback; 8.1: any program of the machine may see the code, and cannot use it),
RFC 9207 (`iss` in the answer).
"""

from __future__ import annotations

import html
import os
import secrets
import sys
import time
import webbrowser
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from oauthlib.oauth2 import WebApplicationClient

from tunegate.api.numbers import duration
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.login.provider import Provider, Refused, Tokens
from tunegate.cli.loopback import LoopbackServer

PATIENCE_SECONDS = 300.0
HOST = "127.0.0.1"
DONE = "You are signed in. You can close this page."


def is_there() -> bool:
    """Tell whether this machine can show somebody a page."""
    shows = sys.platform == "darwin" or any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
    if not shows:
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def sign_in(provider: Provider, port: int, *, opens: bool, fresh: bool) -> Tokens:
    """Return the tokens of whoever signs in; ``port`` 0: a free one. Raises ``CommandFailure``.

    ``fresh``: a session that the provider remembers is not enough, and the token says when somebody signed in (OpenID Connect
    Core, 3.1.2.1: a provider that is asked for ``max_age`` has to send ``auth_time``).
    """
    client = WebApplicationClient(provider.client.client_id)
    verifier, state, nonce = client.create_code_verifier(64), secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    asked = {"prompt": "login", "max_age": "0"} if fresh else {}
    with _Returns(port, state, provider.client.issuer) as returns:
        page = client.prepare_request_uri(
            provider.need("authorization_endpoint", "give --device"), redirect_uri=returns.address,
            scope=provider.scopes, state=state, nonce=nonce, code_challenge_method="S256",
            code_challenge=client.create_code_challenge(verifier, "S256"), **asked,
        )  # fmt: skip
        print(f"Sign in at {page}", file=sys.stderr, flush=True)
        if opens:
            webbrowser.open(page)
        code = returns.code()
    form = client.prepare_request_body(
        code=code, redirect_uri=returns.address, code_verifier=verifier, include_client_id=True
    )
    return provider.tokens(form, nonce)


class _Returns(LoopbackServer):
    """Waits for the browser to come back with a code, whatever else asks this port meanwhile."""

    timeout = 0.5

    def __init__(self, port: int, state: str, issuer: str) -> None:
        try:
            super().__init__((HOST, port), _Page)
        except (OSError, OverflowError) as error:
            raise WrongUsage(f"--redirect-port {port} cannot be used: {error}") from error
        self.address = f"http://localhost:{self.server_port}"
        self._state = state
        self._issuer = issuer
        self._code: str | None = None
        self._failure: CommandFailure | None = None

    def code(self) -> str:
        """Wait, and return the code. Raises ``CommandFailure``."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends:
            self.handle_request()
            if self._failure is not None:
                raise self._failure
            if self._code is not None:
                return self._code
        raise CommandFailure(
            f"nobody signed in within {duration(PATIENCE_SECONDS)}. Without a browser on this machine: --device"
        )

    def answer(self, path: str) -> str | CommandFailure | None:
        """Return the code or the failure that a request brings; None for one that is not the provider's answer."""
        told = {name: values[0] for name, values in parse_qs(path.partition("?")[2]).items()}
        if not secrets.compare_digest(told.get("state", "").encode(), self._state.encode()):
            return None
        if told.get("iss", self._issuer) != self._issuer:
            return CommandFailure(f"the answer came from {told['iss']}, not from {self._issuer}: try again")
        if told.get("error"):
            return Refused(self._issuer, told["error"], told.get("error_description"))
        return told.get("code")

    def end(self, answer: str | CommandFailure) -> None:
        """Wait no longer."""
        if isinstance(answer, CommandFailure):
            self._failure = answer
        else:
            self._code = answer


class _Page(BaseHTTPRequestHandler):
    """One request of a browser."""

    timeout = 10
    server: _Returns

    def do_GET(self) -> None:
        """Answer with a page that says how it went."""
        answer = self.server.answer(self.path)
        text = str(answer) if isinstance(answer, CommandFailure) else DONE if answer else "Nothing is here."
        body = f"<!doctype html><title>tunegate</title><p>{html.escape(text)}</p>".encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)
        if answer:  # Only now: the program may end at once, and the page with it.
            self.server.end(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing: the path has the code."""
