"""`python -m tunegate gateway`: puts the parts together, listens, and leaves without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError

from tunegate.api.serving import ROUTES_KEY, GatewayStatus, PullReport, RoutesDocument
from tunegate.gateway.access import Access, ApiKeys
from tunegate.gateway.cluster import ApiServer
from tunegate.gateway.engine import Engine
from tunegate.gateway.errors import ApiError
from tunegate.gateway.holdings import Holdings
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.proxy import ENDPOINTS, Proxy
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.settings import GatewaySettings, in_pod

log = logging.getLogger("tunegate.gateway")
EXPIRY_SECONDS = 0.5


class Gateway:
    """One gateway: state shared by the two ports and the two watchers."""

    def __init__(self, settings: GatewaySettings, engine: Engine, cluster: ApiServer, report: PullReport) -> None:
        self._settings = settings
        self._cluster = cluster
        self.metrics = Metrics()
        self.routes = RouteTable()
        self.in_flight = InFlight(settings.limits.in_flight, self.metrics)
        self.holdings = Holdings(engine, report, self._hold, self.in_flight.finished)
        self.proxy = Proxy(
            engine,
            Access(ApiKeys(settings.api_keys), cluster),
            self.routes,
            self.holdings,
            self.in_flight,
            self.metrics,
            settings.limits,
        )
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether new clients may be sent here."""
        return self.holdings.ready and self.routes.known and not self.draining

    def status(self) -> GatewayStatus:
        """Return what the operator asks for."""
        message = self.holdings.message
        if self.holdings.ready and not self.routes.known:
            message = f"ConfigMap {self._settings.routes_config_map} was not read yet"
        return GatewayStatus(
            engine=self.holdings.engine_state,
            ready=self.ready,
            draining=self.draining,
            adapters=self.holdings.adapters,
            routes=self.routes.open,
            routes_revision=self.routes.revision,
            in_flight=len(self.in_flight),
            message=message,
        )

    async def follow_routes(self) -> None:
        """Take over every change of the routes, for ever."""
        settings = self._settings
        async for found in self._cluster.follow(settings.namespace, settings.routes_config_map):
            text = ((found or {}).get("data") or {}).get(ROUTES_KEY)
            try:
                document = RoutesDocument.model_validate_json(text) if text else RoutesDocument()
            except ValidationError as error:
                log.error("the routes cannot be understood, the last known ones hold: %s", error)
                continue
            before = self.routes.open
            self.routes.follow(document)
            cut = self.in_flight.cut(self.routes.allowed)
            if before != self.routes.open or cut:
                log.info("routes, revision %d: %s; %d requests cut", document.revision, self.routes.open, cut)
            self._show()

    async def close_in_time(self) -> None:
        """Close what an override opened when its time is over, for ever: no operator is needed for that."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            if self.routes.expire():
                cut = self.in_flight.cut(self.routes.allowed)
                log.info("the time of an override is over: %s; %d requests cut", self.routes.open, cut)
                self._show()

    def _hold(self, ready: frozenset[str]) -> None:
        self.routes.hold(ready)
        self._show()

    def _show(self) -> None:
        answering = self.routes.answering
        for entry in self.holdings.adapters:
            self.metrics.holding.labels(entry.served_name).set(entry.served_name in answering)


def client_app(gateway: Gateway, body_bytes: int) -> web.Application:
    """Return the application of the client port: these paths and no other exist."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            gateway.metrics.refused.labels(error.code).inc()
            return error.response()
        except web.HTTPException as error:
            gateway.metrics.refused.labels("no_such_endpoint").inc()
            return ApiError(error.status, "no_such_endpoint", f"{request.method} here: {error.reason}").response()

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readiness(_: web.Request) -> web.Response:
        status = gateway.status()
        return web.json_response(
            {"ready": status.ready, "message": status.message}, status=200 if status.ready else 503
        )

    app = web.Application(middlewares=[errors], client_max_size=body_bytes)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", readiness)
    app.router.add_get("/v1/models", gateway.proxy.models)
    for path in ENDPOINTS:
        app.router.add_post(path, gateway.proxy.answer)
    return app


def status_app(gateway: Gateway) -> web.Application:
    """Return the application of the status port: for the operator and Prometheus, no secrets, no models."""

    async def status(_: web.Request) -> web.Response:
        return web.json_response(gateway.status().to_dict())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(gateway.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/status", status)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """Run a gateway: both ports, and the watchers of engine and routes."""
    report = PullReport.model_validate_json(settings.report.read_bytes())
    async with Engine(settings.engine_socket, settings.limits) as engine, ApiServer(settings.cluster) as cluster:
        gateway = Gateway(settings, engine, cluster, report)
        clients = await _listen(client_app(gateway, settings.limits.body_bytes), settings.host, settings.port)
        status = await _listen(status_app(gateway), settings.host, settings.status_port)
        watching = (gateway.holdings.watch(), gateway.follow_routes(), gateway.close_in_time())
        watchers = [asyncio.create_task(one) for one in watching]
        try:
            yield gateway
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            await clients.cleanup()
            await status.cleanup()


async def _listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


async def drain(gateway: Gateway, settings: GatewaySettings) -> None:
    """Leave: not ready any more, a moment until nobody is sent here, then finish what was begun."""
    gateway.draining = True
    await asyncio.sleep(settings.limits.drain_delay)
    if not await gateway.in_flight.finished(settings.limits.drain_seconds):
        log.warning("%d requests did not end in time and are broken off", len(gateway.in_flight))


async def serve(settings: GatewaySettings) -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as gateway:
        await stop.wait()
        await drain(gateway, settings)


def main() -> int:
    """Run in the pod."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(in_pod()))
    return 0
