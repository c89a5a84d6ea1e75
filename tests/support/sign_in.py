"""People who sign in at the local cluster's OpenID provider: a real authorization-code flow with PKCE, and real tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.support.governed_namespace import World
from tests.support.ports import running_server
from tunegate_local import certificates, settings, sign_in

Json = dict[str, Any]
REDIRECT = "http://localhost"
RISK, COMPLIANCE, ENGINEERS = "tunegate:model-risk", "tunegate:compliance", "tunegate:engineers"
ACCOUNTS = {
    "erin": ("E-1001", [ENGINEERS]),
    "erin-risk": ("E-1001", [RISK]),
    "rosa": ("E-1002", [RISK]),
    "rosa-admin": ("E-1002", [COMPLIANCE]),
    "carl": ("E-1003", [COMPLIANCE]),
    "nora": ("", [RISK]),
    "ina": ("E-1004", ["help-desk"]),
}
"""Employee id and groups by user name: two people have two accounts each, one account has no employee."""


@dataclass
class Session:
    """A person who signed in: the ID token, and what gets a new one without signing in again."""

    token: str
    refresh: str

    @property
    def claims(self) -> Json:
        body = self.token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


class SignIn:
    """The provider as a person's browser and command line see it."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self._passwords = passwords
        trust = ssl.create_default_context(cafile=str(certificates.issuer_authority().certificate))
        self._http = httpx.Client(base_url=settings.ISSUER, verify=trust, timeout=10.0, trust_env=False)
        self._endpoints = self._http.get("/.well-known/openid-configuration").raise_for_status().json()

    def session(self, username: str) -> Session:
        """Sign in with user name and password."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(8)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "client_id": sign_in.CLIENT, "redirect_uri": REDIRECT, "response_type": "code", "state": state,
            "scope": "openid offline_access", "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        page = self._http.get(
            f"{self._endpoints['authorization_endpoint']}?{urlencode(query)}", follow_redirects=True
        ).raise_for_status()
        found = re.search(r'name="id" value="([^"]+)"', page.text)
        assert found, page.text
        form = {"id": found[1], "username": username, "password": self._passwords[username]}
        answer = self._http.post(str(page.url.copy_with(path="/login/username", query=None)), data=form)
        back = self._http.get(answer.headers["location"])
        arrived = parse_qs(urlsplit(back.headers["location"]).query)
        assert arrived["state"] == [state]
        return self._tokens({
            "grant_type": "authorization_code", "code": arrived["code"][0], "redirect_uri": REDIRECT,
            "code_verifier": verifier,
        })  # fmt: skip

    def refreshed(self, session: Session) -> Session:
        """Return a new token of the same sign-in."""
        return self._tokens({"grant_type": "refresh_token", "refresh_token": session.refresh})

    def _tokens(self, form: dict[str, str]) -> Session:
        answer = self._http.post(self._endpoints["token_endpoint"], data={"client_id": sign_in.CLIENT, **form})
        given = answer.raise_for_status().json()
        return Session(given["id_token"], given["refresh_token"])


@contextmanager
def running_issuer(folder: Path, accounts: Mapping[str, tuple[str, list[str]]] = ACCOUNTS) -> Iterator[SignIn]:
    """Start the provider that the API server trusts, with passwords of its own.

    ``accounts``: employee id and groups by user name.
    """
    passwords = {username: secrets.token_urlsafe(16) for username in accounts}
    people = [
        {"username": username, "password": passwords[username], "employeeId": employee, "groups": groups}
        for username, (employee, groups) in accounts.items()
    ]
    (folder / "people.json").write_text(json.dumps(people))
    command = sign_in.issuer_command(folder / "people.json")
    with running_server(command, settings.LOOPBACK, settings.ISSUER_PORT, folder / "issuer.log"):
        yield SignIn(passwords)


def wait_until_known(world: World, session: Session) -> Json:
    """Return whom the API server sees, once it has found the provider's keys: it looks every ten seconds."""
    deadline = time.monotonic() + 60
    while True:
        answer = world.with_token(session.token, "auth", "whoami", "-o", "json")
        if answer.code == 0:
            return dict(json.loads(answer.out)["status"]["userInfo"])
        assert time.monotonic() < deadline, answer
        time.sleep(1)
