"""Keeps looking how full the registry's volume is, and says so in metrics, log and a ConfigMap that doctor reads."""

from __future__ import annotations

import asyncio
import logging

from tunegate.api.markers import MANAGED_BY_LABEL
from tunegate.deadlines import Threads
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient
from tunegate.logs import event
from tunegate.reconcile.naming import MANAGED_BY
from tunegate.registry.failures import Unavailable
from tunegate.registry.stored import ROOM_CONFIG_MAP, ROOM_KEY, WARNING_PERCENT, Room
from tunegate.registry.volume_client import ROOM_SECONDS, VolumeClient
from tunegate.runtime import metrics

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
WRITTEN_SECONDS = 300.0
"""The ConfigMap is written again after so long, or when the percentage is another."""
MANAGER = "tunegate-registry-room"


class RoomWatch:
    """One operator's looks at the volume of the chart's registry."""

    def __init__(self, volume: VolumeClient, kube: KubeClient, namespace: str) -> None:
        """``namespace``: where the ConfigMap is written."""
        self._volume = volume
        self._kube = kube
        self._namespace = namespace
        self._threads = Threads("the registry's volume", 1, Unavailable)
        self._written: tuple[float, int] | None = None
        self._warned = False

    async def run(self) -> None:
        """Look forever. What cannot be read has no metric; alert on its absence."""
        while True:
            try:
                await self.look()
            except (Transient, Terminal) as error:
                logger.warning(
                    "how full the registry's volume is cannot be read or written down: %s",
                    error.message,
                    extra=event("RegistryRoomUnread", error=error.message),
                )
                metrics.REGISTRY_BYTES.clear()
                metrics.REGISTRY_NAMESPACE_BYTES.clear()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> Room:
        """Look once and return what was seen. Raises ``Transient`` or ``Terminal``."""
        room = await self._threads.call(ROOM_SECONDS, self._volume.room)
        for state in ("total", "free", "unreferenced"):
            metrics.REGISTRY_BYTES.labels(state).set(getattr(room, state))
        metrics.REGISTRY_NAMESPACE_BYTES.clear()
        for name, count in room.namespaces.items():
            metrics.REGISTRY_NAMESPACE_BYTES.labels(name).set(count)
        self._warn(room)
        await self._write(room)
        return room

    def _warn(self, room: Room) -> None:
        full = room.used_percent >= WARNING_PERCENT
        if full and not self._warned:
            logger.warning(
                "%d percent of the registry's volume are taken: when it is full, no stage can store a result",
                room.used_percent,
                extra=event("RegistryAlmostFull", percent=room.used_percent, free=room.free),
            )
        self._warned = full

    async def _write(self, room: Room) -> None:
        now = asyncio.get_running_loop().time()
        if self._written and now - self._written[0] < WRITTEN_SECONDS and self._written[1] == room.used_percent:
            return
        labels = {"app.kubernetes.io/name": "tunegate", MANAGED_BY_LABEL: MANAGED_BY}
        metadata = {"name": ROOM_CONFIG_MAP, "namespace": self._namespace, "labels": labels}
        data = {ROOM_KEY: room.model_dump_json(by_alias=True)}
        await self._kube.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, manager=MANAGER
        )
        self._written = (now, room.used_percent)
