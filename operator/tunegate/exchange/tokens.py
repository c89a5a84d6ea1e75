"""A Kubernetes token for a short one of the registry: `GET /token`, as Docker's clients ask.

Source: distribution's token authentication specification. Only reading is exchanged: what people push comes through the
exchange itself, so nobody outside holds a token that writes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tunegate.exchange.identity import Caller, Identity
from tunegate.exchange.rights import reading
from tunegate.gateway.errors import ApiError
from tunegate.logs import event
from tunegate.registry.tokens import SERVICE, Access, TokenSigner

log = logging.getLogger("tunegate.exchange")
LIFETIME = timedelta(minutes=5)
"""After so long a right that was taken away opens nothing more; the registry adds a minute."""
MOST_SCOPES = 8
_SCOPE = re.compile(r"repository:([a-z0-9][a-z0-9._/-]{0,250}):([a-z*]+(?:,[a-z*]+)*)")


class Tokens:
    """Decides what a caller may read, and signs it."""

    def __init__(self, identity: Identity, signer: TokenSigner) -> None:
        self._identity = identity
        self._signer = signer

    async def issue(self, caller: Caller, service: str, scopes: list[str]) -> dict[str, Any]:
        """Return the answer to a Docker client. Raises ``ApiError`` 400 for what is no scope, 403 if nothing may be read."""
        if service not in ("", SERVICE):
            raise ApiError(400, "unknown_service", f"service: only {SERVICE} is known here")
        wanted = [one for scope in scopes for one in scope.split()]
        if not wanted or len(wanted) > MOST_SCOPES:
            raise ApiError(400, "bad_scope", f"scope: give between one and {MOST_SCOPES}, repository:NAME:pull")
        access, refused = [], []
        for scope in wanted:
            found = _SCOPE.fullmatch(scope)
            if found is None:
                raise ApiError(400, "bad_scope", "scope: the form is repository:NAME:pull")
            name, actions = found[1], set(found[2].split(","))
            right = reading(name)
            if right is None:
                refused.append(f"nobody reads {name} by the exchange")
            elif "pull" not in actions:
                refused.append(f"{name}: only pull is exchanged; `tunegate data push` brings data in")
            elif not await self._identity.allowed(caller, right):
                refused.append(f"{caller.username} may not {right}: ask the platform team for a role that does")
            else:
                access.append(Access(name, ("pull",)))
        if not access:
            log.warning(
                "no token for %s: %s", caller.username, "; ".join(refused),
                extra=event("RegistryTokenRefused", person=caller.username, scopes=wanted, reasons=refused),
            )  # fmt: skip
            raise ApiError(403, "not_allowed", "; ".join(refused))
        now = datetime.now(UTC)
        token = await asyncio.to_thread(self._signer.sign, access, subject=caller.username, lifetime=LIFETIME, now=now)
        repositories, seconds = [one.repository for one in access], int(LIFETIME.total_seconds())
        log.info(
            "%s may read %s for %d seconds", caller.username, ", ".join(repositories), seconds,
            extra=event("RegistryTokenIssued", person=caller.username, repositories=repositories, seconds=seconds),
        )  # fmt: skip
        issued = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"token": token, "access_token": token, "expires_in": seconds, "issued_at": issued}
