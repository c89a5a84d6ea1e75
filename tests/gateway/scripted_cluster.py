"""A scripted API server on a real socket: for what a real one cannot be made to do on demand."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import web

from tests.gateway.documents import CREDENTIAL, KNOWN_TOKEN, SECRET, SERVER_UID, adapters
from tunegate.api.markers import ApiModel
from tunegate.api.serving import (
    ADAPTERS_KEY,
    ROUTES_KEY,
    AdaptersDocument,
    RoutesDocument,
    adapters_name,
    routes_name,
)


class Watched:
    """A ConfigMap that can be watched."""

    def __init__(self, name: str, key: str, document: ApiModel) -> None:
        self.version = 1
        self.document: ApiModel | None = document
        self.key = key
        self.metadata: dict[str, Any] = {
            "name": name,
            "ownerReferences": [{"kind": "ModelServer", "name": "server", "uid": SERVER_UID}],
            "labels": {"app.kubernetes.io/managed-by": "tunegate", "tunegate.io/server": "server"},
        }
        self.text: str | None = None
        """What it holds instead of the document."""

    def item(self) -> dict[str, Any]:
        text = json.dumps(self.document.to_dict()) if self.document else ""
        return {"metadata": self.metadata, "data": {self.key: text if self.text is None else self.text}}


class ScriptedApiServer:
    """Two ConfigMaps that can be watched, a credential, and one known token."""

    def __init__(self, routes: RoutesDocument, adapters: AdaptersDocument) -> None:
        self.routes = Watched(routes_name("server"), ROUTES_KEY, routes)
        self.adapters = Watched(adapters_name("server"), ADAPTERS_KEY, adapters)
        self._changed = asyncio.Condition()
        self.away = False
        self.refused = 0
        """Questions about the routes while it was away."""
        self.reviewed: list[str] = []
        """Tokens that were asked about."""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/team/configmaps", self._config_maps)
        app.router.add_get(f"/api/v1/namespaces/team/secrets/{SECRET}", self._secret)
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review)
        return app

    async def put(self, routes: RoutesDocument | None) -> None:
        """Change or delete the routes."""
        await self._put(self.routes, routes)

    async def list(self, *names: str, **changes: Any) -> None:
        """List these adapters and no others; ``changes`` to each of them."""
        await self._put(self.adapters, adapters(*names, **changes))

    async def touch(self) -> None:
        """Tell watchers of what was changed by hand."""
        await self._put(self.adapters, self.adapters.document)

    async def _put(self, watched: Watched, document: ApiModel | None) -> None:
        async with self._changed:
            watched.document, watched.version = document, watched.version + 1
            self._changed.notify_all()

    async def _config_maps(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query["fieldSelector"].removeprefix("metadata.name=")
        watched = {one.metadata["name"]: one for one in (self.routes, self.adapters)}[wanted]
        if self.away:
            self.refused += watched is self.routes
            return web.Response(status=503)
        if "watch" not in request.query:
            items = [watched.item()] if watched.document else []
            return web.json_response({"metadata": {"resourceVersion": str(watched.version)}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while not self.away:
            async with self._changed:
                while watched.version <= seen and not self.away:
                    await self._changed.wait()
                seen = watched.version
            if self.away:
                break
            event = {"type": "MODIFIED" if watched.document else "DELETED", "object": watched.item()}
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    async def _secret(self, _: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        return web.json_response({"data": {"config.json": base64.b64encode(CREDENTIAL.encode()).decode()}})

    async def _review(self, request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        self.reviewed.append(spec["token"])
        known = spec["token"] == KNOWN_TOKEN
        status = {"authenticated": known, "audiences": spec["audiences"], "user": {"groups": ["analysts"]}}
        return web.json_response({"status": status}, status=201)
