"""Who calls, and what they may do: the API server's answers, never remembered, so that a right that is taken away ends here.

A program's token must be made for the exchange. People's tokens of an identity provider know no audience of ours: they are
taken as the API server takes them. Client certificates never reach us; docs/bring-data-in.md says what to do instead.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.api.markers import GROUP
from tunegate.api.pushed import AUDIENCE
from tunegate.api.shared import PERSON_ID, SERVICE_ACCOUNT
from tunegate.errors import Terminal, Transient
from tunegate.exchange.rights import Right
from tunegate.gateway.errors import ApiError
from tunegate.kube.client import KubeClient

LONGEST_TOKEN = 16_384
QUESTIONS_AT_ONCE = 8
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Caller:
    """Somebody, as the API server proved them."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def person_id(self) -> str | None:
        """The human behind the account, where the identity provider says so."""
        return next(iter(self.extra.get(PERSON_ID, ())), None)


class Identity:
    """Asks the API server with the pod's own rights, which are these two questions."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._places = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def caller(self, authorization: str | None) -> Caller:
        """Return who sends the request. Raises ``ApiError`` 401, and 503 when the API server can't be asked."""
        token = token_of(authorization)
        status = await self._review(token, [AUDIENCE])
        if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or []):
            status = await self._review(token, [])
            if status.get("authenticated") and str(status.get("user", {}).get("username", "")).startswith(
                SERVICE_ACCOUNT
            ):
                raise ApiError(
                    401, "wrong_audience",
                    f"this service account's token is not for audience {AUDIENCE}: make one with "
                    f"`kubectl create token NAME --audience {AUDIENCE}`, or a projected token with that audience",
                )  # fmt: skip
        if not status.get("authenticated"):
            raise ApiError(401, "invalid_credential", "the cluster does not know this token, or it has expired")
        user = status.get("user") or {}
        extra = {key: tuple(values) for key, values in (user.get("extra") or {}).items()}
        return Caller(str(user["username"]), str(user.get("uid") or ""), tuple(user.get("groups") or ()), extra)

    async def allowed(self, caller: Caller, right: Right) -> bool:
        """Tell whether RBAC gives the caller a right now. Raises ``ApiError`` 503."""
        resource, _, subresource = right.resource.partition("/")
        spec = {
            "user": caller.username,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "extra": {key: list(values) for key, values in caller.extra.items()},
            "resourceAttributes": {
                "group": GROUP, "verb": right.verb, "resource": resource, "subresource": subresource,
                "namespace": right.namespace, "name": right.name,
            },
        }  # fmt: skip
        return bool((await self._ask("authorization.k8s.io/v1", "SubjectAccessReview", spec)).get("allowed"))

    async def require(self, caller: Caller, right: Right) -> None:
        """Raise ``ApiError`` 403 unless RBAC gives the caller the right now."""
        if not await self.allowed(caller, right):
            raise ApiError(
                403, "not_allowed", f"{caller.username} may not {right}: ask the platform team for a role that does"
            )

    async def _review(self, token: str, audiences: list[str]) -> dict[str, Any]:
        return await self._ask("authentication.k8s.io/v1", "TokenReview", {"token": token, "audiences": audiences})

    async def _ask(self, api_version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._places:
                answer = await self._kube.create(
                    {"apiVersion": api_version, "kind": kind, "metadata": {}, "spec": dict(spec)}
                )
        except (Transient, Terminal, TimeoutError) as error:
            raise ApiError(
                503, "cluster_unasked", "the API server does not say now who you are; try again", retry_after=5
            ) from error
        return dict(answer.get("status") or {})


def token_of(authorization: str | None) -> str:
    """Return the Kubernetes token of a header: a bearer token, or the password of Docker's clients. Raises ``ApiError`` 401."""
    scheme, _, value = (authorization or "").partition(" ")
    token = value.strip()
    if scheme.lower() == "basic":
        try:
            token = base64.b64decode(token, validate=True).decode("ascii").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            token = ""
    elif scheme.lower() != "bearer":
        token = ""
    if not token or len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ApiError(
            401,
            "missing_credential",
            "send a Kubernetes token: as a bearer token, or as the password of a Docker client",
        )
    return token
