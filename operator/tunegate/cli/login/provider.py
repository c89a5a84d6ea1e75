"""An OpenID provider as its client: where its endpoints are, and tokens for a code, for a device and for a refresh token.

Sources: OpenID Connect Discovery 1.0, OpenID Connect Core 1.0 (3.1.3.7: what to check of an ID token that came straight from
the provider; its signature is for the API server; 12.2: what to compare of a renewed one), RFC 6749. Forms and errors of OAuth
are oauthlib's.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import time
from dataclasses import dataclass, replace
from typing import Any

import httpx
from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

from tunegate.cli.failure import CommandFailure, Unreachable, WrongCertificate, WrongUsage
from tunegate.server_certificates import certificate_fault

Json = dict[str, Any]
SECONDS = 30.0
SCOPES = ("openid", "profile", "email", "groups", "offline_access")
"""What is asked for, as far as the provider says that it knows it: who it is, in which groups, and a refresh token."""
NEEDED = "openid"
DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True)
class Client:
    """Of which provider one is a client, and as which."""

    issuer: str
    """As the API server has it, character by character."""
    client_id: str
    authority: str | None = None
    """Certificates of who signed the provider's, as PEM text; None: those of the system."""
    scopes: tuple[str, ...] = ()
    """Instead of those of ``SCOPES`` that the provider knows."""


@dataclass(frozen=True)
class Tokens:
    """What a sign-in gives."""

    id_token: str
    refresh_token: str | None = None

    @property
    def claims(self) -> Json:
        """What the ID token says. Raises ``CommandFailure`` for one that is none."""
        try:
            body = self.id_token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (IndexError, ValueError, binascii.Error):
            claims = None
        if not isinstance(claims, dict):
            raise CommandFailure("the OpenID provider gave an ID token that is none")
        return claims

    @property
    def expires(self) -> float:
        """When the ID token ends, in seconds since 1970."""
        ends = self.claims.get("exp")
        return float(ends) if isinstance(ends, int | float) else 0.0


class Refused(CommandFailure):
    """The provider said no, with one of OAuth's errors."""

    def __init__(self, issuer: str, error: str, description: str | None) -> None:
        self.error = error
        more = f" ({description})" if description else ""
        super().__init__(f"the OpenID provider {issuer} refuses: {error}{more}")


class Provider:
    """One connection. Redirects are not followed."""

    def __init__(self, client: Client) -> None:
        """Raise ``WrongUsage`` for an issuer without TLS or an authority that is no certificate."""
        if not client.issuer.startswith("https://"):
            raise WrongUsage(f"--issuer {client.issuer}: an OpenID provider's address begins with https://")
        trust = ssl.create_default_context()
        if client.authority is not None:
            try:
                trust.load_verify_locations(cadata=client.authority)
            except (ValueError, ssl.SSLError) as error:
                raise WrongUsage("--issuer-ca is no PEM certificate") from error
        # From Python 3.13 on set by default; it refuses authorities that many sites have.
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self.client = client
        self._trust = trust
        self._http = httpx.Client(verify=trust, timeout=SECONDS)
        self._document: Json | None = None

    def endpoint(self, name: str) -> str | None:
        """Return the address of an endpoint as discovery names it, or None. Raises ``CommandFailure``."""
        found = self._discovered().get(name)
        if found is not None and not str(found).startswith("https://"):
            raise CommandFailure(f"the OpenID provider {self.client.issuer} has its {name} without TLS")
        return None if found is None else str(found)

    def need(self, name: str, otherwise: str) -> str:
        """Return the address of an endpoint. Raises ``CommandFailure`` with what to do ``otherwise``."""
        found = self.endpoint(name)
        if found is None:
            raise CommandFailure(f"the OpenID provider {self.client.issuer} has no {name}: {otherwise}")
        return found

    @property
    def scopes(self) -> list[str]:
        """What to ask for."""
        known = self._discovered().get("scopes_supported")
        if self.client.scopes or not isinstance(known, list):
            return list(dict.fromkeys((NEEDED, *(self.client.scopes or SCOPES))))
        return [scope for scope in SCOPES if scope in known or scope == NEEDED]

    def post(self, address: str, form: str) -> Json:
        """Send a form and return the answer. Raises ``Refused``, ``Unreachable`` or ``CommandFailure``."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = self._send("POST", address, content=form, headers=headers)
        try:
            document = answer.json() if answer.content else {}
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("error"):
            described = document.get("error_description")
            raise Refused(self.client.issuer, str(document["error"]), str(described) if described else None)
        if answer.status_code != httpx.codes.OK or not isinstance(document or {}, dict):
            raise CommandFailure(f"the OpenID provider {self.client.issuer} answers {answer.status_code} at {address}")
        return dict(document or {})

    def tokens(self, form: str, nonce: str | None = None) -> Tokens:
        """Exchange a grant for tokens and check the ID token. Raises as ``post`` does."""
        answer = self.post(self.need("token_endpoint", "it cannot be used"), form)
        if not isinstance(answer.get("id_token"), str):
            raise CommandFailure(
                f"the OpenID provider {self.client.issuer} gave no ID token: its client {self.client.client_id} must have the "
                f"scope {NEEDED}"
            )
        refresh = answer.get("refresh_token")
        found = Tokens(answer["id_token"], str(refresh) if refresh else None)
        self._check(found, nonce)
        return found

    def refreshed(self, tokens: Tokens) -> Tokens:
        """Return new tokens for a refresh token; where the provider does not give another one, it stays.

        Raises as ``post`` does, and ``CommandFailure`` for tokens of somebody else.
        """
        form = WebApplicationClient(self.client.client_id).prepare_refresh_body(
            refresh_token=tokens.refresh_token, client_id=self.client.client_id
        )
        found = self.tokens(form)
        if found.claims.get("sub") != tokens.claims.get("sub"):
            raise CommandFailure(
                f"the OpenID provider {self.client.issuer} renewed your login with the token of somebody else, which is not used: run "
                "`tunegate login`"
            )
        return found if found.refresh_token else replace(found, refresh_token=tokens.refresh_token)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _check(self, tokens: Tokens, nonce: str | None) -> None:
        claims, issuer = tokens.claims, self.client.issuer
        audiences = claims.get("aud")
        named = audiences if isinstance(audiences, list) else [audiences]
        if claims.get("iss") != issuer:
            raise CommandFailure(f"the ID token is of another issuer than {issuer}")
        if self.client.client_id not in named or claims.get("azp", self.client.client_id) != self.client.client_id:
            raise CommandFailure(f"the ID token of {issuer} is for another client than {self.client.client_id}")
        if nonce is not None and claims.get("nonce") != nonce:
            raise CommandFailure(f"the ID token of {issuer} belongs to another sign-in: try again")
        if tokens.expires <= time.time():
            raise CommandFailure(f"the ID token of {issuer} has expired already: is this machine's clock right?")

    def _discovered(self) -> Json:
        if self._document is None:
            issuer = self.client.issuer
            answer = self._send("GET", issuer.rstrip("/") + DISCOVERY)
            try:
                document = answer.json() if answer.status_code == httpx.codes.OK else None
            except ValueError:
                document = None
            if not isinstance(document, dict) or "issuer" not in document:
                raise CommandFailure(
                    f"{issuer} is no OpenID provider: it has nothing at {DISCOVERY} ({answer.status_code})"
                )
            if document["issuer"] != issuer:
                raise CommandFailure(
                    f"the OpenID provider at {issuer} calls itself {document['issuer']}: give --issuer as it calls itself"
                )
            self._document = document
        return self._document

    def _send(self, method: str, address: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, address, **options)
        except httpx.HTTPError as error:
            provider = f"the OpenID provider {self.client.issuer}"
            if fault := certificate_fault(error, self._trust):
                hint = ": give --issuer-ca FILE, its authority" if fault.of_authority else ""
                raise WrongCertificate(f"{provider}: {fault.text}{hint}", of_authority=fault.of_authority) from error
            raise Unreachable(f"{provider} does not answer, {type(error).__name__}") from error
        except httpx.InvalidURL as error:
            raise WrongUsage(f"--issuer {self.client.issuer}: {error}") from error
        if answer.is_server_error:
            raise Unreachable(f"the OpenID provider {self.client.issuer} answers {answer.status_code} at {address}")
        return answer


def wrong(issuer: str, error: OAuth2Error) -> Refused:
    """Return what oauthlib found in an answer, as a sentence."""
    return Refused(issuer, str(error.error), str(error.description) if error.description else None)
