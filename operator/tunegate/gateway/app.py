"""`python -m tunegate gateway`: puts the parts together, listens, and leaves without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError

from tunegate.api.markers import MANAGED_BY_LABEL
from tunegate.api.serving import ROUTES_KEY, GatewayStatus, PullReport, RoutesDocument
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.gateway import logs
from tunegate.gateway.access import Access, ApiKeys
from tunegate.gateway.adapter_states import AdapterStates
from tunegate.gateway.cluster import ApiServer
from tunegate.gateway.connections import ConnectionWatch, listen
from tunegate.gateway.engine import Engine
from tunegate.gateway.errors import ApiError
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.inspection import Inspection
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.proxy import ENDPOINTS, Proxy
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.settings import GatewaySettings, in_pod
from tunegate.gateway.tls import Certificate
from tunegate.gateway.watchers import Watchers
from tunegate.logs import event, kinds
from tunegate.mounted import ConfigurationDiffers
from tunegate.reconcile.naming import MANAGED_BY, SERVER_LABEL

log = logging.getLogger("tunegate.gateway")
EXPIRY_SECONDS = 0.5


class NotOurs(Exception):
    """What lies under the routes' name is not the operator's word for this server; the message says why."""


class Gateway:
    """One gateway: state shared by the two ports and the watchers."""

    def __init__(
        self,
        settings: GatewaySettings,
        engine: Engine,
        cluster: ApiServer,
        inspection: Inspection,
        report: PullReport,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self.metrics = Metrics()
        self.metrics.routes_age.set_function(lambda: self.routes.age)
        self.routes = RouteTable()
        self.in_flight = InFlight(self.metrics)
        self.adapter_states = AdapterStates(engine, report, self._hold, self.in_flight.finished)
        self.connections = ConnectionWatch(settings.limits, self.metrics)
        self.watchers = Watchers(self.metrics)
        self.proxy = Proxy(
            engine,
            Access(ApiKeys(settings.api_keys), cluster),
            self.routes,
            self.adapter_states,
            self.in_flight,
            inspection,
            self.metrics,
            settings.limits,
        )
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether new clients may be sent here."""
        routes = self.routes
        return (
            self.adapter_states.ready
            and routes.known
            and not routes.stale
            and not routes.obstacle
            and not self.draining
        )

    def status(self) -> GatewayStatus:
        """Return what the operator asks for."""
        open_now = set(self.routes.open.values()) | self.in_flight.served
        return GatewayStatus(
            engine=self.adapter_states.engine_state,
            ready=self.ready,
            draining=self.draining,
            adapters=self.adapter_states.adapters,
            routes=self.routes.open,
            routes_revision=self.routes.revision,
            routes_age_seconds=int(self.routes.age),
            answering=sorted(open_now - {BASE_SERVED_NAME}),
            in_flight=len(self.in_flight),
            message=self._message(),
            watchers=dict(self.watchers.ends),
        )

    def _message(self) -> str:
        name = self._settings.routes_config_map
        if not self.adapter_states.ready:
            return self.adapter_states.message
        if self.routes.obstacle:
            return f"ConfigMap {name} is not followed, every route is closed: {self.routes.obstacle}"
        if not self.routes.known:
            return f"ConfigMap {name} was not read yet"
        if self.routes.stale:
            return f"ConfigMap {name} could not be read for {self.routes.age:.0f} s: every route is closed until it can"
        return ""

    async def follow_routes(self) -> None:
        """Take over every change of the routes, forever."""
        settings = self._settings
        async for found in self._cluster.follow(settings.namespace, settings.routes_config_map):
            before = self.routes.open
            try:
                self.routes.follow(self._word(found))
            except NotOurs as error:
                log.error("the routes are not followed: %s", error, extra=event("RoutesNotFollowed", error=error))
                self.routes.close(str(error))
            except ValidationError as error:
                log.error(
                    "the routes cannot be understood: %d errors",
                    error.error_count(),
                    extra=event("RoutesUnreadable", errors=error.error_count()),
                )
                continue
            cut = self.in_flight.cut(self.routes.allowed)
            if before != self.routes.open or cut:
                log.info(
                    "routes, revision %d: %s; %d requests cut",
                    self.routes.revision,
                    self.routes.open,
                    cut,
                    extra=event("RoutesChanged", revision=self.routes.revision, routes=self.routes.open, cut=cut),
                )
            self._show()

    def _word(self, found: Mapping[str, Any] | None) -> RoutesDocument:
        """Return the operator's word for this server. Raises ``NotOurs`` and ``ValidationError``."""
        if found is None:
            raise NotOurs("it does not exist")
        metadata = found.get("metadata") or {}
        labels = metadata.get("labels") or {}
        owners = [str(owner.get("uid")) for owner in metadata.get("ownerReferences") or ()]
        if owners != [self._settings.server_uid]:
            raise NotOurs(f"its owner is not ModelServer {self._settings.server} with uid {self._settings.server_uid}")
        if (labels.get(MANAGED_BY_LABEL), labels.get(SERVER_LABEL)) != (MANAGED_BY, self._settings.server):
            raise NotOurs("it does not carry the operator's labels of this server")
        text = (found.get("data") or {}).get(ROUTES_KEY)
        return RoutesDocument.model_validate_json(text) if text else RoutesDocument()

    async def close_in_time(self) -> None:
        """Close what an override opened when its time is over, and everything when the operator's word is too old.

        For ever, and no operator is needed for that.
        """
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            if self.routes.expire():
                cut = self.in_flight.cut(self.routes.allowed)
                why = "the routes could not be read for too long" if self.routes.stale else "an override is over"
                log.warning(
                    "%s: %s; %d requests cut",
                    why,
                    self.routes.open,
                    cut,
                    extra=event("RoutesClosed", why=why, routes=self.routes.open, cut=cut),
                )
                self._show()

    def _hold(self, ready: frozenset[str]) -> None:
        self.routes.hold(ready)
        self._show()

    def _show(self) -> None:
        answering = self.routes.answering
        for entry in self.adapter_states.adapters:
            self.metrics.holding.labels(entry.served_name).set(entry.served_name in answering)


def client_app(gateway: Gateway, body_bytes: int) -> web.Application:
    """Return the application of the client port: these paths and no other exist."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readiness(_: web.Request) -> web.Response:
        status = gateway.status()
        return web.json_response(
            {"ready": status.ready, "message": status.message}, status=200 if status.ready else 503
        )

    app = web.Application(middlewares=[_errors(gateway)], client_max_size=body_bytes)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", readiness)
    app.router.add_get("/v1/models", gateway.proxy.models)
    for path in ENDPOINTS:
        app.router.add_post(path, gateway.proxy.answer)
    return app


def _errors(gateway: Gateway) -> Any:
    """Return what turns every error into an answer of one form; what nobody foresaw is logged without its text."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            gateway.metrics.refused.labels(error.code).inc()
            return error.response()
        except web.HTTPException as error:
            gateway.metrics.refused.labels("no_such_endpoint").inc()
            text = f"there is no {request.method[:16]} here: GET /v1/models, POST {', '.join(ENDPOINTS)}"
            return ApiError(error.status, "no_such_endpoint", text).response()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except web.RequestPayloadError:
            gateway.metrics.refused.labels("body_broken").inc()
            return ApiError(400, "body_broken", "the request's body did not arrive as its headers say").response()
        except Exception as error:
            gateway.metrics.refused.labels("internal_error").inc()
            log.error(
                "a request failed in a way that nobody foresaw: %s",
                kinds(error),
                extra=event("RequestFailed", error=kinds(error)),
            )
            return ApiError(500, "internal_error", "the gateway failed at this request").response()

    return errors


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
    """Run a gateway: both ports, and the watchers of engine, routes and connections. Raises ``OSError``, ``ssl.SSLError``."""
    report = PullReport.model_validate_json(settings.report.read_bytes())
    certificate = Certificate(settings.tls) if settings.tls is not None else None
    limits = settings.limits
    async with (
        Engine(settings.engine_socket, limits) as engine,
        ApiServer(settings.cluster) as cluster,
        Inspection() as inspection,
    ):
        gateway = Gateway(settings, engine, cluster, inspection, report)
        told = ConnectionWatch(limits, Metrics())
        clients = client_app(gateway, limits.body_bytes)
        ports = [
            await listen(clients, settings.host, settings.port, gateway.connections, limits, _context(certificate)),
            await listen(status_app(gateway), settings.host, settings.status_port, told, limits),
        ]
        watchers = {
            "engine": gateway.adapter_states.watch,
            "routes": gateway.follow_routes,
            "closing": gateway.close_in_time,
            "connections": gateway.connections.watch,
            "status-connections": told.watch,
        }
        gateway.watchers.start(watchers if certificate is None else {**watchers, "certificate": certificate.follow})
        try:
            yield gateway
        finally:
            await gateway.watchers.stop()
            for _, server in ports:
                server.close()
            for runner, _ in ports:
                await runner.cleanup()


def _context(certificate: Certificate | None) -> ssl.SSLContext | None:
    return certificate.context if certificate is not None else None


async def drain(gateway: Gateway, settings: GatewaySettings) -> None:
    """Leave: not ready any more, a moment until nobody is sent here, then finish what was begun."""
    gateway.draining = True
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
    return run(settings)
