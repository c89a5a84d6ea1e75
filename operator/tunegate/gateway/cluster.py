"""What a gateway asks the API server: who a token belongs to, what its documents say now, and what opens the registry."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from tunegate.gateway.settings import Cluster
from tunegate.logs import event
from tunegate.manifests.workspace import credential_of

log = logging.getLogger("tunegate.gateway")
WATCH_SECONDS = 15
"""A watch is renewed so often, by a fresh read: an event lost in a broken connection delays a change by no more, and the
routes' age tells within seconds that they can't be read."""
PAUSE = (0.5, 5.0)
"""First and longest pause after a failed read, in seconds."""


class Unreachable(Exception):
    """The API server does not answer, or answers with an error."""


@dataclass(frozen=True)
class Reviewed:
    """What a TokenReview says."""

    authenticated: bool
    username: str = ""
    groups: tuple[str, ...] = ()


class ApiServer:
    """A client for the pod's own, narrow rights. The token file is read for every request: the kubelet renews it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._trusted = self._authority()
        self._http = self._session()

    def _authority(self) -> bytes | None:
        file = self._cluster.ca_file
        content = file.read_bytes() if file is not None else None
        if content is not None and not content.strip():
            raise ValueError(f"{file} is empty: without an authority of its own the cluster is not trusted")
        return content

    def _session(self) -> aiohttp.ClientSession:
        trust = ssl.create_default_context(cadata=self._trusted.decode()) if self._trusted is not None else None
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust if trust is not None else True),
            timeout=aiohttp.ClientTimeout(total=10, sock_connect=5),
            read_bufsize=2 * 1024 * 1024,
        )

    async def follow_authority(self) -> bool:
        """Trust the cluster's authority as its file stands now; tell whether it changed. Raises ``OSError``, ``ValueError``."""
        now = self._authority()
        if now == self._trusted:
            return False
        before, old = self._trusted, self._http
        try:
            self._trusted = now
            self._http = self._session()
        except (ssl.SSLError, ValueError):
            self._trusted = before
            raise
        await old.close()
        log.info("the cluster's authority changed and is followed", extra=event("AuthorityChanged"))
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def review(self, token: str, audience: str) -> Reviewed:
        """Ask whose ``token`` this is. Raises ``Unreachable``."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        try:
            async with self._http.post(
                f"{self._cluster.url}/apis/authentication.k8s.io/v1/tokenreviews", json=body, headers=self._headers()
            ) as answer:
                if answer.status != 201:
                    raise Unreachable(f"TokenReview is answered with {answer.status}")
                status = (await answer.json()).get("status") or {}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(f"TokenReview: {type(error).__name__}") from error
        if not status.get("authenticated") or audience not in (status.get("audiences") or []):
            return Reviewed(False)
        user = status.get("user") or {}
        return Reviewed(True, str(user.get("username", "")), tuple(user.get("groups") or ()))

    async def credential(self, namespace: str, name: str) -> str:
        """Return the Docker configuration in a Secret. Raises ``Unreachable``, also when there is none."""
        url = f"{self._cluster.url}/api/v1/namespaces/{namespace}/secrets/{name}"
        try:
            async with self._http.get(url, headers=self._headers()) as answer:
                if answer.status != 200:
                    raise Unreachable(f"Secret {name}: {answer.status}")
                found = credential_of(await answer.json())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(f"Secret {name}: {type(error).__name__}") from error
        if not found:
            raise Unreachable(f"Secret {name} holds no credential")
        return found

    async def follow(self, namespace: str, name: str, what: str) -> AsyncIterator[dict[str, Any] | None]:
        """Yield the ConfigMap now, after every change and at each renewal, None when there is none; forever.

        While the API server can't be reached nothing is yielded: how old the last word is, the caller knows. ``what`` lies there,
        for the log: "routes", "adapters".
        """
        pause = PAUSE[0]
        while True:
            try:
                version, found = await self._read(namespace, name)
                yield found
                pause = PAUSE[0]
                async for found in self._watch(namespace, name, version):
                    yield found
            except (Unreachable, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                log.warning(
                    "the %s cannot be read now: %s %s",
                    what,
                    type(error).__name__,
                    error,
                    extra=event("DocumentUnread", what=what, kind=type(error).__name__, error=error),
                )
                await asyncio.sleep(pause)
                with contextlib.suppress(OSError, ValueError):
                    await self.follow_authority()
                pause = min(pause * 2, PAUSE[1])

    async def _read(self, namespace: str, name: str) -> tuple[str, dict[str, Any] | None]:
        async with self._http.get(
            self._config_maps(namespace), params={"fieldSelector": f"metadata.name={name}"}, headers=self._headers()
        ) as answer:
            if answer.status != 200:
                raise Unreachable(f"ConfigMap {name}: {answer.status}")
            document = await answer.json()
        items = document.get("items") or []
        return str(document["metadata"]["resourceVersion"]), items[0] if items else None

    async def _watch(self, namespace: str, name: str, version: str) -> AsyncIterator[dict[str, Any] | None]:
        params = {
            "fieldSelector": f"metadata.name={name}",
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        limit = aiohttp.ClientTimeout(total=WATCH_SECONDS + 5, sock_connect=5)
        async with self._http.get(
            self._config_maps(namespace), params=params, headers=self._headers(), timeout=limit
        ) as answer:
            if answer.status != 200:
                raise Unreachable(f"watch of ConfigMap {name}: {answer.status}")
            while line := await answer.content.readuntil(b"\n"):
                change = json.loads(line)
                if change["type"] in {"ADDED", "MODIFIED"}:
                    yield change["object"]
                elif change["type"] == "DELETED":
                    yield None
                else:
                    return

    def _config_maps(self, namespace: str) -> str:
        return f"{self._cluster.url}/api/v1/namespaces/{namespace}/configmaps"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._cluster.token_file.read_text().strip()}"}
