"""The operator process: settings, health, Lease, watch streams, worker loops, and how all of it stops."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tunegate.api.kinds import KINDS
from tunegate.api.markers import API_VERSION
from tunegate.controllers.all import CONTROLLERS
from tunegate.controllers.dispatch.resync import Resync
from tunegate.controllers.dispatch.routing import Routed, Routing
from tunegate.controllers.dispatch.surplus import surplus
from tunegate.controllers.dispatch.triggers import Source
from tunegate.controllers.dispatch.urgency import stops
from tunegate.controllers.namespace_authorities import NamespaceAuthorities
from tunegate.controllers.quotas import Quotas
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient
from tunegate.kube.lease import Lease, LeaseLost
from tunegate.logs import event
from tunegate.runtime import health as health_server
from tunegate.runtime import logs, metrics
from tunegate.runtime.health import Health
from tunegate.runtime.loop import Loop
from tunegate.runtime.powers import keep_looking
from tunegate.runtime.registry_room import RoomWatch
from tunegate.runtime.rereading import keep_rereading
from tunegate.runtime.services import connected
from tunegate.runtime.supervision import supervise
from tunegate.runtime.watching import Watching
from tunegate.settings import Settings, from_environment

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_LEASE_LOST = 3
"""Another process may act now; the kubelet starts this one again as a standby."""
DRAIN_SECONDS = 15.0
"""How long a stopping process waits for reconciles that have begun."""


class Operator:
    """What leads: one loop per controller, fed by watch streams and by the periodic listing."""

    def __init__(self, services: Services, health: Health, leading: Callable[[], bool]) -> None:
        """``leading`` tells whether this process still holds the Lease."""
        self._services = services
        self._health = health
        self._leading = leading
        self._watching: Watching | None = None
        settings = services.settings
        self._routing = Routing({one.name: one.policy for one in settings.governed})
        self._quotas = Quotas(services.kube, services.ledger, settings)
        self._authorities = NamespaceAuthorities(services.kube, settings, services.ledger)
        self._listing = Resync(services.kube, settings.namespaces, self._routing, self._quotas, services.measurements)
        self._loops: dict[str, list[Loop]] = {}
        for make in CONTROLLERS:
            controller = make(services)
            loop = Loop(Worker(controller, services.kube, services.ledger), health)
            self._loops.setdefault(controller.kind, []).append(loop)

    async def run(self) -> None:
        """Lead until cancelled; then take nothing new, and while the Lease is held finish what has begun."""
        workers = self._services.settings.workers
        work = asyncio.gather(*(supervise("workers", partial(loop.run, workers)) for loop in self._all()))
        try:
            # Before the first pod that needs them.
            await supervise("authorities at the start", self._authorities.try_deliver)
            await supervise("first listing", self._resync)
            self._health.set_ready("leading")
            async with asyncio.TaskGroup() as group:
                for name, run in self._side_loops().items():
                    group.create_task(supervise(name, run))
                group.create_task(_forever(work))
        finally:
            await self._end(work)

    def _side_loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return what runs beside the reconciles, by name."""
        services, settings = self._services, self._services.settings
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "watching": self._watch,
            "resync": self._keep_resyncing,
            "authorities": self._authorities.run,
            "quotas": self._quotas.run,
        }
        if (guard := services.guard) is not None:
            metrics.RULES_IN_FORCE.set_function(lambda: guard.frozen is None)
            loops["admission rules"] = partial(guard.run, settings.admission_seconds)
        if (powers := services.powers) is not None:
            loops["powers"] = partial(keep_looking, powers, settings.powers_seconds)
        if (volume := services.registry_volume) is not None:
            loops["room in the registry"] = RoomWatch(volume, services.kube, settings.system_namespace).run
        return loops

    async def _watch(self) -> None:
        self._watching = Watching(self._services.settings, self._reported)
        await self._watching.run()

    async def _end(self, work: asyncio.Future[Any]) -> None:
        """Stop. Without the Lease nothing is waited for: another process may act now."""
        for loop in self._all():
            loop.queue.close()
        if self._leading():
            if self._watching is not None:
                await self._watching.stop()
            await asyncio.wait([work], timeout=DRAIN_SECONDS)
        elif self._watching is not None:
            await self._watching.stop(0.0)
        work.cancel()
        await asyncio.wait([work])

    def _all(self) -> Iterable[Loop]:
        return [loop for loops in self._loops.values() for loop in loops]

    def _reported(self, source: Source, obj: Mapping[str, Any], deleted: bool) -> None:
        if source == "resource":
            self._services.recent.forget(obj["kind"])
            self._enqueue(self._listing.note(obj, deleted=deleted))
            servers = self._routing.known.get("ModelServer", ())
            for kind, key in stops(obj, deleted=deleted, servers=servers):
                for loop in self._loops.get(kind, ()):
                    loop.add_stop(key)
        else:
            self._enqueue(self._routing.of_child(obj, datetime.now(UTC)))

    def _enqueue(self, routed: Routed) -> None:
        for kind, key in routed.targets:
            for loop in self._loops.get(kind, ()):
                if not routed.talk or loop.shows_progress:
                    loop.queue.add(key)

    async def _keep_resyncing(self) -> None:
        while True:
            await asyncio.sleep(self._services.settings.resync_seconds)
            await self._resync()

    async def _resync(self) -> None:
        """List once; tries again until it works, since the first listing is what readiness means."""
        pause = 1.0
        while True:
            try:
                targets = await self._listing.run()
                break
            except (Transient, Terminal) as error:
                logger.warning(
                    "listing failed, next try in %g s: %s",
                    pause,
                    error,
                    extra=event("ListingFailed", pause=pause, error=error),
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, 60.0)
        metrics.RESOURCES.replace(self._routing.phases())
        marked = surplus(self._routing.known, self._services.settings.history, datetime.now(UTC))
        self._services.surplus.clear()
        self._services.surplus.update(marked)
        self._enqueue(Routed(tuple(marked)))
        self._enqueue(Routed(tuple(targets)))


async def _forever(work: asyncio.Future[Any]) -> None:
    await asyncio.shield(work)
    raise RuntimeError("the worker loops ended although nobody asked them to")


async def lead(settings: Settings, kube: KubeClient, election: KubeClient, health: Health) -> None:
    """Wait for the Lease, then act until it is lost or this task is cancelled.

    ``election``: the Lease's own connections, so that no burst of other requests keeps a renewal waiting.
    """
    lease = Lease(
        election,
        settings.system_namespace,
        settings.lease_name,
        identity=f"{socket.gethostname()}-{os.getpid()}",
        duration=settings.lease_duration_seconds,
        renew_deadline=settings.lease_renew_deadline_seconds,
        pause=settings.lease_retry_seconds,
    )
    await check_definitions(kube)
    health.set_ready("standing by")
    await lease.acquire()
    metrics.LEADER.set(1)
    lost = False
    try:
        leading = kube.writing_while(lease.held)
        async with connected(settings, leading) as (services, ledger, checkpoints), asyncio.TaskGroup() as group:
            group.create_task(lease.keep())
            group.create_task(supervise("reading again", partial(keep_rereading, ledger, settings.reread_hours)))
            if checkpoints is not None:
                for part in checkpoints.parts:
                    metrics.CHECKPOINTS_WORK.labels(part).set_function(partial(checkpoints.works, part))
                group.create_task(supervise("checkpoints", checkpoints.run))
            group.create_task(Operator(services, health, lease.held).run())
    except* LeaseLost:
        lost = True
        raise
    finally:
        metrics.LEADER.set(0)
        if not lost:
            await lease.release()


async def check_definitions(kube: KubeClient) -> None:
    """Raise ``Transient`` naming the kind that the API server does not know: without it no watch stream can start."""
    for model in KINDS:
        await kube.require_kind(API_VERSION, model.KIND.kind)


async def run(settings: Settings) -> int:
    """Run the process until a signal; return its exit status."""
    health = Health()
    server = health_server.serve(health, metrics.REGISTRY, settings.http_port)
    beating = asyncio.create_task(health.keep_beating())
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        # As in client-go: a renewal that hangs leaves time for another one.
        half = settings.lease_renew_deadline_seconds / 2
        async with (
            await KubeClient.connect(settings.kubeconfig) as kube,
            await KubeClient.connect(settings.kubeconfig, timeout=half) as election,
        ):
            return await _until(stopped, asyncio.create_task(lead(settings, kube, election, health)))
    finally:
        beating.cancel()
        server.shutdown()


async def _until(stopped: asyncio.Event, leading: asyncio.Task[None]) -> int:
    """Wait for the signal or the end of leading, whichever comes first, and tell why it ended."""
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait([waiting, leading], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not leading.done():
        logger.info("stopping: a signal came", extra=event("OperatorStops"))
        leading.cancel()
    try:
        await leading
    except asyncio.CancelledError:
        return EXIT_OK
    except BaseExceptionGroup as group:
        if group.subgroup(LeaseLost) is not None:
            logger.error("stopping: the lease was lost", extra=event("LeaseLost"))
            return EXIT_LEASE_LOST
        logger.exception("stopping: a part of the operator failed", extra=event("OperatorFailed"))
        return EXIT_FAILED
    except (Transient, Terminal) as error:
        logger.error("stopping: %s", error, extra=event("OperatorFailed", error=error))
        return EXIT_FAILED
    return EXIT_FAILED


def main() -> int:
    """Run the operator with settings from the environment."""
    try:
        settings = from_environment()
    except Terminal as error:
        logs.configure("INFO")
        logger.error(error.message, extra=event("OperatorFailed", error=error.message))
        return EXIT_FAILED
    logs.configure(settings.log_level)
    if settings.kubeconfig is not None:
        # kopf reads the path from here.
        os.environ["KUBECONFIG"] = settings.kubeconfig
    return asyncio.run(run(settings))
