"""One gateway: the state that its two ports and its watchers share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tunegate.api.manifest import HashedFolder
from tunegate.api.markers import MANAGED_BY_LABEL
from tunegate.api.serving import ADAPTERS_KEY, ROUTES_KEY, AdaptersDocument, GatewayStatus, RoutesDocument
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.gateway.access import Access
from tunegate.gateway.adapter_states import AdapterStates
from tunegate.gateway.cluster import ApiServer
from tunegate.gateway.connections import ConnectionWatch
from tunegate.gateway.engine import Engine
from tunegate.gateway.fetching import Fetching
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.inspection import Inspection
from tunegate.gateway.keys import ApiKeys
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.proxy import Proxy
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.settings import GatewaySettings
from tunegate.gateway.watchers import Watchers
from tunegate.logs import event
from tunegate.reconcile.naming import MANAGED_BY, SERVER_LABEL

log = logging.getLogger("tunegate.gateway")
EXPIRY_SECONDS = 0.5
SERIES_SECONDS = 600.0
"""For so long the series of an adapter that is gone stay: Prometheus reads the last numbers."""


class NotOurs(Exception):
    """What lies under a document's name is not the operator's for this server; the message says why."""


class Gateway:
    """State of one gateway."""

    def __init__(
        self,
        settings: GatewaySettings,
        engine: Engine,
        cluster: ApiServer,
        fetching: Fetching,
        inspection: Inspection,
        base: HashedFolder,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self.metrics = Metrics()
        self.metrics.routes_age.set_function(lambda: self.routes.age)
        self.routes = RouteTable()
        self.in_flight = InFlight(self.metrics)
        self.adapter_states = AdapterStates(
            engine,
            fetching,
            base,
            self.in_flight,
            lambda: self.routes.approved,
            self._hold,
            most=settings.most_adapters,
            adapters=settings.adapters,
        )
        self._shown: frozenset[str] = frozenset()
        self._gone: dict[str, float] = {}
        """Adapters that are gone and still have series, and since when."""
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
            and not self.watchers.down
            and not self.draining
        )

    def status(self) -> GatewayStatus:
        """Return what the operator asks for."""
        open_now = self.routes.open_names | self.in_flight.served
        return GatewayStatus(
            engine=self.adapter_states.engine_state,
            ready=self.ready,
            draining=self.draining,
            adapters=self.adapter_states.adapters,
            routes=self.routes.open,
            shadows={public: one.served_name for public, one in self.routes.shadows.items()},
            traffic=self.routes.traffic.told,
            routes_revision=self.routes.revision,
            routes_age_seconds=int(self.routes.age),
            answering=sorted(open_now - {BASE_SERVED_NAME}),
            in_flight=len(self.in_flight),
            message=self._message(),
            watchers=dict(self.watchers.ends),
        )

    def _message(self) -> str:
        name = self._settings.routes_config_map
        states = self.adapter_states
        if not states.ready:
            return states.message
        if self.routes.obstacle:
            return f"ConfigMap {name} is not followed, every route is closed: {self.routes.obstacle}"
        if not self.routes.known:
            return f"ConfigMap {name} was not read yet"
        if self.routes.stale:
            return f"ConfigMap {name} could not be read for {self.routes.age:.0f} s: every route is closed until it can"
        if self.watchers.down:
            return f"started again soon: {', '.join(f'{name}: {self.watchers.ends[name]}' for name in sorted(self.watchers.down))}"
        if states.list.obstacle:
            return f"ConfigMap {self._settings.adapters_config_map} is not followed: {states.list.obstacle}"
        return ""

    async def follow_adapters(self) -> None:
        """Take over every change of the list of adapters, forever. What is there and not the operator's changes nothing."""
        settings, adapters = self._settings, self.adapter_states.list
        async for found in self._cluster.follow(settings.namespace, settings.adapters_config_map, "adapters"):
            try:
                adapters.follow(AdaptersDocument.model_validate_json(self._ours(found, ADAPTERS_KEY)))
            except NotOurs as error:
                log.error(
                    "the list of adapters is not followed: %s", error, extra=event("AdaptersNotFollowed", error=error)
                )
                adapters.close(str(error))
            except ValidationError as error:
                log.error(
                    "the list of adapters cannot be understood: %d errors",
                    error.error_count(),
                    extra=event("AdaptersUnreadable", errors=error.error_count()),
                )
                adapters.close("it cannot be understood")
            self.adapter_states.notice()

    async def follow_routes(self) -> None:
        """Take over every change of the routes, forever."""
        settings = self._settings
        async for found in self._cluster.follow(settings.namespace, settings.routes_config_map, "routes"):
            before = self.routes.open
            try:
                self.routes.follow(RoutesDocument.model_validate_json(self._ours(found, ROUTES_KEY)))
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
            self.adapter_states.notice()
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

    def _ours(self, found: Mapping[str, Any] | None, key: str) -> str:
        """Return the text of the operator's document for this server. Raises ``NotOurs``."""
        if found is None:
            raise NotOurs("it does not exist")
        metadata = found.get("metadata") or {}
        labels = metadata.get("labels") or {}
        owners = [str(owner.get("uid")) for owner in metadata.get("ownerReferences") or ()]
        if owners != [self._settings.server_uid]:
            raise NotOurs(f"its owner is not ModelServer {self._settings.server} with uid {self._settings.server_uid}")
        if (labels.get(MANAGED_BY_LABEL), labels.get(SERVER_LABEL)) != (MANAGED_BY, self._settings.server):
            raise NotOurs("it does not carry the operator's labels of this server")
        text = (found.get("data") or {}).get(key)
        if not text:
            raise NotOurs(f"it has no {key}")
        return str(text)

    async def close_in_time(self) -> None:
        """Close what an override opened when its time is over, and every route when the operator's document is too old.

        This goes on forever and needs no operator. Requests are cut whether or not a route changed at this moment: the adapter may
        have no route any more, or somebody else noticed first.
        """
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            expired, cut = self.routes.expire(), self.in_flight.cut(self.routes.allowed)
            if expired or cut:
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
        names = frozenset(entry.served_name for entry in self.adapter_states.adapters)
        now = time.monotonic()
        for name in self._shown - names:
            self.metrics.holding.remove(name)
            self._gone[name] = now
        for name in names:
            self.metrics.holding.labels(name).set(name in answering)
            self._gone.pop(name, None)
        self._shown = names
        over = [name for name, since in self._gone.items() if now - since >= SERIES_SECONDS]
        for name in over:
            self.metrics.forget(name)
            del self._gone[name]
