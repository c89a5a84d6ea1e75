"""Waiting for a real cluster: poll until a condition holds, and on time-out show status, events and the tails of logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient, ObjectRef

Json = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A cluster that tests wait for."""

    kube: KubeClient

    async def until(
        self, ref: ObjectRef, holds: Callable[[Json], object], *, what: str, seconds: float = 60.0, pause: float = 0.2
    ) -> Json:
        """Return the object once ``holds`` is true of it. Raises ``AssertionError`` with all that explains a time-out."""
        deadline = time.monotonic() + seconds
        while True:
            obj = await self.kube.get(ref)
            if obj is not None and holds(obj):
                return obj
            if time.monotonic() > deadline:
                raise AssertionError(f"{ref}: not {what} within {seconds:g} s\n{await self.story(ref, obj)}")
            await asyncio.sleep(pause)

    async def gone(self, ref: ObjectRef, *, seconds: float = 60.0) -> None:
        """Return once the object does not exist any more."""
        deadline = time.monotonic() + seconds
        while (obj := await self.kube.get(ref)) is not None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{ref}: still there after {seconds:g} s\n{await self.story(ref, obj)}")
            await asyncio.sleep(0.2)

    async def story(self, ref: ObjectRef, obj: Json | None) -> str:
        """Return what a person would look at: status, the namespace's events, pods and the ends of their logs."""
        parts = [_section("status", yaml.safe_dump((obj or {}).get("status", "no object")))]
        try:
            events = await self.kube.list("v1", "Event", ref.namespace or "default")
            events.sort(key=lambda event: event["metadata"]["creationTimestamp"])
            lines = [f"{e['involvedObject'].get('name')}: {e.get('reason')}: {e.get('message')}" for e in events[-25:]]
            parts.append(_section("events", "\n".join(lines)))
            if ref.namespace:
                parts += [await self._pod(pod) for pod in await self.kube.list("v1", "Pod", ref.namespace)]
        except (Transient, Terminal) as error:
            parts.append(f"(the rest cannot be read: {error})")
        return "\n".join(parts)

    async def _pod(self, pod: Json) -> str:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        spec = pod["spec"]
        text = [f"phase {pod.get('status', {}).get('phase')}"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            try:
                log = await self.kube.pod_logs(namespace, name, container["name"], tail=20)
            except (Transient, Terminal) as error:
                log = f"(no log: {error})"
            text.append(f"[{container['name']}]\n{log}")
        return _section(f"pod {name}", "\n".join(text))


def _section(title: str, text: str) -> str:
    return f"--- {title}\n{text.rstrip() or '(nothing)'}"
