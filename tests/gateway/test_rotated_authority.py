"""The cluster's certificate authority and the pod's token are replaced while a gateway runs."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.standins import KEY, ScriptedApiServer, routes, stand_ins, until
from tests.support.certificates import write_localhost_certificate
from tests.support.ports import free_port
from tunegate.gateway.app import running
from tunegate.gateway.cluster import ApiServer
from tunegate.gateway.settings import Cluster


@asynccontextmanager
async def api_server(cluster: ScriptedApiServer, port: int, certificate: Path, seen: list[str]) -> AsyncIterator[None]:
    """Run the stand-in of the API server with a certificate; ``seen`` gets the credential of each request."""

    @web.middleware
    async def note(request: web.Request, handler: aiohttp.typedefs.Handler) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return await handler(request)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    app = cluster.app()
    app.middlewares.append(note)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield
    finally:
        await runner.cleanup()


def authority(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    write_localhost_certificate(made)
    return made


async def test_a_new_authority_and_a_new_token_are_followed_without_a_restart(tmp_path: Path) -> None:
    old, new = authority(tmp_path, "old"), authority(tmp_path, "new")
    trusted, token, port = tmp_path / "ca.crt", tmp_path / "token", free_port()
    trusted.write_bytes((old / "tls.crt").read_bytes())
    seen: list[str] = []
    async with stand_ins(tmp_path) as (_, cluster, _, plain), aiohttp.ClientSession() as http:
        settings = replace(plain, cluster=Cluster(f"https://localhost:{port}", token, trusted))
        async with api_server(cluster, port, old, seen):
            gateway_runs = running(settings)
            gateway = await gateway_runs.__aenter__()
            await until(lambda: gateway.ready, "ready")
        try:
            async with api_server(cluster, port, new, seen):
                await cluster.put(routes(revision=2, kubernetes_groups=["analysts"]))
                await until(lambda: gateway.routes.age > 1, "without news")
                assert gateway.routes.revision == 1, "an authority that the pod was not given is not trusted"
                assert seen.count("Bearer renewed") == 0
                token.write_text("renewed")
                trusted.write_bytes((new / "tls.crt").read_bytes())
                await until(lambda: gateway.routes.revision == 2, "read by the new authority", seconds=30)
                assert seen[-1] == "Bearer renewed"
                url = f"http://127.0.0.1:{settings.port}/v1/models"
                async with http.get(url, headers={"Authorization": f"Bearer {KEY}"}) as answer:
                    assert answer.status == 200
        finally:
            await gateway_runs.__aexit__(None, None, None)


async def test_an_authority_file_without_content_is_refused_and_the_old_one_is_trusted_on(tmp_path: Path) -> None:
    """OpenSSL takes an empty text for none, and then trusts the authorities of the image."""
    trusted, token = tmp_path / "ca.crt", tmp_path / "token"
    content = (authority(tmp_path, "old") / "tls.crt").read_bytes()
    trusted.write_bytes(content)
    async with ApiServer(Cluster("https://localhost:1", token, trusted)) as api:
        trusted.write_bytes(b"\n")
        with pytest.raises(ValueError, match="is empty"):
            await api.follow_authority()
        trusted.write_bytes(content)
        assert not await api.follow_authority()
