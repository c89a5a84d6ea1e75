"""The operator as a process on a real API server: it starts, hands over, repairs what it missed, and stops cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import NamespaceFactory
from tests.support.builders import make_evaluationsuite
from tests.support.operator_settings import operator_environment
from tests.support.ports import free_port
from tests.support.waiting import Cluster
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.runtime.operator import EXIT_LEASE_LOST

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@dataclass
class Running:
    """An operator process."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    async def ready(self, detail: str, *, seconds: float = 60.0) -> None:
        """Wait until `/readyz` says ``detail``."""
        answer = "nothing"
        async with httpx.AsyncClient(timeout=5) as client:
            for _ in range(int(seconds / 0.2)):
                assert self.process.returncode is None, self.log.read_text()
                try:
                    response = await client.get(f"{self.url}/readyz")
                    answer = f"{response.status_code} {response.text.strip()}"
                except httpx.TransportError as error:
                    answer = str(error)
                if answer == f"200 {detail}":
                    return
                await asyncio.sleep(0.2)
        raise AssertionError(f"/readyz says {answer}, not {detail}\n{self.log.read_text()}")

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(60):
            return await self.process.wait()


Start = Callable[[], Awaitable[Running]]


@dataclass
class Site:
    """A system namespace and a governed one, and a maker of operator processes for them."""

    system: str
    team: str
    start: Start


@pytest.fixture
async def site(namespaces: NamespaceFactory, kubeconfig: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Site]:
    system, team = await namespaces("system"), await namespaces("team")
    started: list[Running] = []

    async def start() -> Running:
        port = free_port()
        environment = operator_environment(
            {
                "SYSTEM_NAMESPACE": system,
                "GOVERNED": json.dumps([{"name": team, "policy": "none"}]),
                "TRAINER_IMAGE": "none",
                "OPERATOR_IMAGE": "none",
                "REGISTRY_HOST": "127.0.0.1:1",
                "REGISTRY_PLAIN_HTTP": "true",
                "KUBECONFIG": kubeconfig("admin"),
                "HTTP_PORT": str(port),
            }
        )
        log = tmp_path / f"operator-{len(started)}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tunegate", "operator", env=environment, stderr=stream, stdout=stream
            )
        started.append(Running(process, f"http://127.0.0.1:{port}", log))
        return started[-1]

    yield Site(system, team, start)
    for running in started:
        if running.process.returncode is None:
            running.process.kill()
            await running.process.wait()


async def test_it_reconciles_what_was_there_and_what_comes_and_stops_cleanly(
    site: Site, kube: KubeClient, cluster: Cluster
) -> None:
    before = await kube.create(make_evaluationsuite("before", site.team))
    operator = await site.start()
    await operator.ready("leading")
    after = await kube.create(make_evaluationsuite("after", site.team))

    for suite in (before, after):
        live = await cluster.until(ObjectRef.of(suite), _has_digest, what="given its digest", seconds=30)
        assert {"type": "Ready", "status": "True"}.items() <= live["status"]["conditions"][0].items()
        assert "kopf" not in json.dumps(live["metadata"].get("annotations", {}))
        assert not live["metadata"].get("finalizers")

    assert 0 == await operator.stop()
    assert "Traceback" not in operator.log.read_text()
    for line in operator.log.read_text().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line)), line


async def test_a_standby_takes_over_from_one_that_stops_and_a_robbed_one_exits(
    site: Site, kube: KubeClient, cluster: Cluster
) -> None:
    first = await site.start()
    await first.ready("leading")
    second = await site.start()
    await second.ready("standing by")
    assert 0 == await first.stop()
    await second.ready("leading", seconds=30)

    suite = await kube.create(make_evaluationsuite("handed-over", site.team))
    await cluster.until(ObjectRef.of(suite), _has_digest, what="given its digest", seconds=30)

    lease = await kube.get(ObjectRef("coordination.k8s.io/v1", "Lease", "tunegate-operator", site.system))
    assert lease is not None
    lease["spec"]["holderIdentity"] = "thief"
    await kube.replace(lease)
    async with asyncio.timeout(40):
        assert EXIT_LEASE_LOST == await second.process.wait()


async def test_wrong_settings_end_it_at_once_with_the_variable_named(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tunegate", "operator",
        env={"PYTHONPATH": f"{ROOT}/operator", "PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()

    assert 1 == process.returncode
    assert b"TUNEGATE_REGISTRY_HOST" in errors


def _has_digest(obj: Json) -> bool:
    return bool((obj.get("status") or {}).get("digest"))
