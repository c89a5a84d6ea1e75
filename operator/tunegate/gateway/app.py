"""`python -m tunegate gateway`: puts the parts together, listens, and leaves without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunegate.api.manifest import HashedFolder
from tunegate.api.stage.ends import ExitCode
from tunegate.errors import Terminal
from tunegate.gateway import logs
from tunegate.gateway.cluster import ApiServer
from tunegate.gateway.connections import ConnectionWatch
from tunegate.gateway.engine import Engine
from tunegate.gateway.fetching import Credential, Fetching
from tunegate.gateway.gateway import Gateway
from tunegate.gateway.inspection import Inspection
from tunegate.gateway.listeners import listen
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.ports import client_app, status_app
from tunegate.gateway.settings import GatewaySettings, in_pod
from tunegate.gateway.tls import Certificate
from tunegate.logs import event
from tunegate.mounted import ConfigurationDiffers

log = logging.getLogger("tunegate.gateway")


@asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """Run a gateway: both ports, and the watchers of engine, documents and connections. Raises ``OSError``, ``ssl.SSLError``."""
    base = HashedFolder.model_validate_json(settings.base_report.read_bytes())
    certificate = Certificate(settings.tls) if settings.tls is not None else None
    limits = settings.limits
    async with (
        Engine(settings.engine_socket, limits) as engine,
        ApiServer(settings.cluster) as cluster,
        Fetching(settings.fetch_socket, credential_of(settings, cluster)) as fetching,
        Inspection() as inspection,
    ):
        gateway = Gateway(settings, engine, cluster, fetching, inspection, base)
        told = ConnectionWatch(limits, Metrics())
        clients = client_app(gateway, limits.body_bytes)
        ports = [
            await listen(clients, settings.host, settings.port, gateway.connections, limits, _context(certificate)),
            await listen(status_app(gateway), settings.host, settings.status_port, told, limits),
        ]
        watchers = {
            "engine": gateway.adapter_states.watch,
            "adapters": gateway.adapter_states.work,
            "adapter-list": gateway.follow_adapters,
            "routes": gateway.follow_routes,
            "closing": gateway.close_in_time,
            "connections": gateway.connections.watch,
            "status-connections": told.watch,
        }
        gateway.watchers.start(watchers if certificate is None else {**watchers, "certificate": certificate.follow})
        try:
            yield gateway
        finally:
            await gateway.proxy.shadows.stop()
            await gateway.watchers.stop()
            for _, server in ports:
                server.close()
            for runner, _ in ports:
                await runner.cleanup()


def credential_of(settings: GatewaySettings, cluster: ApiServer) -> Credential:
    """Return what reads the registry credential for each question, so that it opens what was approved a moment ago."""

    async def credential() -> str | None:
        if settings.credential_secret is None:
            return None
        return await cluster.credential(settings.namespace, settings.credential_secret)

    return credential


def _context(certificate: Certificate | None) -> ssl.SSLContext | None:
    return certificate.context if certificate is not None else None


async def drain(gateway: Gateway, settings: GatewaySettings) -> None:
    """Leave: not ready any more, a moment until nobody is sent here, then finish what was begun."""
    gateway.draining = True
    await gateway.proxy.shadows.stop()
    await asyncio.sleep(settings.limits.drain_delay)
    if not await gateway.in_flight.finished(settings.limits.drain_seconds):
        log.warning(
            "%d requests did not end in time and are broken off",
            len(gateway.in_flight),
            extra=event("RequestsBrokenOff", requests=len(gateway.in_flight)),
        )


async def serve(settings: GatewaySettings) -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as gateway:
        await stop.wait()
        await drain(gateway, settings)


def run(settings: GatewaySettings) -> int:
    """Run with these settings until a signal."""
    logs.configure()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(settings))
    return 0


def main(config_digest: str) -> int:
    """Run in the pod. ``config_digest``: of the documents that the pod was made with."""
    try:
        settings = in_pod(config_digest)
    except ConfigurationDiffers as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIGURATION_DIFFERS
    except Terminal as error:
        print(error.message, file=sys.stderr)
        return 1
    return run(settings)
