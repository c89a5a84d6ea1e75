"""Signing in on another device: a code to type there, and the question here whether it was done. Source: RFC 8628."""

from __future__ import annotations

import sys
import time

from oauthlib.oauth2 import DeviceClient

from tunegate.api.numbers import duration
from tunegate.cli import screen
from tunegate.cli.failure import CommandFailure, Unreachable, WrongCertificate
from tunegate.cli.login.provider import Json, Provider, Refused, Tokens

ENDPOINT = "device_authorization_endpoint"
INTERVAL_SECONDS = 5.0
"""Between two questions where the provider names no time, and what one that is asked too often gets more (RFC 8628, 3.5)."""
LONGEST_SECONDS = 1800.0


def is_offered(provider: Provider) -> bool:
    """Tell whether the provider lets people sign in on another device."""
    return provider.endpoint(ENDPOINT) is not None


def sign_in(provider: Provider) -> Tokens:
    """Say where to sign in, and return the tokens of whoever does. Raises ``CommandFailure``."""
    endpoint = provider.need(ENDPOINT, "sign in by a browser, without --device")
    client = DeviceClient(provider.client.client_id, scope=provider.scopes)
    asked = client.prepare_request_uri(endpoint).partition("?")[2]
    began = time.monotonic()
    told = provider.post(endpoint, asked)
    try:
        code, page, shown = (str(told[name]) for name in ("device_code", "verification_uri", "user_code"))
        lasts = min(float(told["expires_in"]), LONGEST_SECONDS)
        interval = max(float(told.get("interval") or INTERVAL_SECONDS), 1.0)
    except (KeyError, TypeError, ValueError):
        raise CommandFailure(f"the OpenID provider {provider.client.issuer} gives no code for a device") from None
    _say(told, page, shown)
    form = client.prepare_request_body(device_code=code, include_client_id=True, scope="")
    while time.monotonic() - began < lasts:
        time.sleep(interval)
        try:
            return provider.tokens(form)
        except Refused as refused:
            if refused.error == "slow_down":
                interval += INTERVAL_SECONDS
            elif refused.error != "authorization_pending":
                raise
        except WrongCertificate:
            raise
        except Unreachable:
            interval *= 2
    raise CommandFailure(f"nobody signed in within {duration(lasts)}: try again")


def _say(told: Json, page: str, code: str) -> None:
    print(f"Open {screen.shown(page)} on any device and type the code {screen.shown(code)}", file=sys.stderr)
    complete = told.get("verification_uri_complete")
    if complete:
        print(f"or open {screen.shown(complete)}", file=sys.stderr)
    sys.stderr.flush()
