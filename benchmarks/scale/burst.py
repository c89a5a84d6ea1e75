"""From creating a job to the first object that is made for it: one job at a time, and all at once.

With `--trainer` Kubeflow Trainer 2.0's TrainJob and JobSet follow, in the same run on the same API server. There is no node:
nothing that is made runs. The first object of a FineTuneJob is the Secret with its registry credential; the batch/v1 Job of
its first stage, which comes a few objects later, is measured too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scale.process import (
    MEMBERS,
    Process,
    running_operator,
    until_quiet,
)
from benchmarks.scale.trainer import running_trainer, train_job

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, install_definitions, kubectl, running_control_plane
from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.stage_documents import MANIFEST
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.results import HashResult
from tunegate.digests import manifest_digest
from tunegate.kube.client import KubeClient
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL, base_model_repository
from tunegate.registry.client import RegistryClient

NAMESPACE = "team"
BURST, SINGLES = 1000, 50
PAUSE_SECONDS = 0.5
"""Between two single jobs: what follows the first object of one is not part of the next one's time."""
CREATING = 32
"""Jobs that are created at the same time."""
PATIENCE_SECONDS = 300
Json = dict[str, Any]
Place = tuple[str, str]
"""Path of an API version, and plural of a kind."""
LONGEST_LINE = 4 * 1024 * 1024
OBJECTS: dict[str, Place] = {"first object": ("api/v1", "secrets"), "first stage's Job": ("apis/batch/v1", "jobs")}
JOBSETS: dict[str, Place] = {"JobSet": ("apis/jobset.x-k8s.io/v1alpha2", "jobsets")}


@dataclass
class Seen:
    """When each job was created, and when the first object of it was seen; seconds of one clock."""

    created: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    """Nobody watches any more."""

    async def until(self, names: Sequence[str]) -> list[float]:
        """Wait until each of these jobs has its object; return the seconds that each took."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.made.keys() >= set(names):
                if self.ended:
                    raise RuntimeError("the watch stream ended")
                self.changed.clear()
                await self.changed.wait()
        return [self.made[name] - self.created[name] for name in names]


def main() -> int:
    """Run and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=BURST, help="jobs that are created at once")
    parser.add_argument("--singles", type=int, default=SINGLES, help="jobs that are created one at a time")
    parser.add_argument("--trainer", action="store_true", help="measure Kubeflow Trainer too; needs Go, builds it once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_control_plane(Path(name), MEMBERS) as plane:
        install_definitions(plane)
        with running_registry(Path(name) / "registry") as registry:
            asyncio.run(_prepare(plane, registry))
            settings = {"REGISTRY_HOST": registry.host, "ENGINE_IMAGES": f'["{builders.IMAGE}"]'}
            with running_operator(plane, [NAMESPACE], further=settings) as process:
                until_quiet(process)
                rows = asyncio.run(_measure(plane, builders.make_finetunejob, OBJECTS, options.jobs, options.singles))
                _show("Tunegate", rows, process)
        if options.trainer:
            with running_trainer(plane) as process:
                peer = asyncio.run(_measure(plane, train_job, JOBSETS, options.jobs, options.singles))
                _show("Trainer 2.0.0", peer, process)
            for (what, name_of), seconds in rows.items():
                print(f"| {what}, {name_of}: part of Trainer's time | {seconds / peer[what, 'JobSet']:.2f} |")
    return 0


async def _prepare(plane: ControlPlane, registry: RunningRegistry) -> None:
    """Make all that a job names, so that nothing is in the way of its first stage."""
    result = HashResult(
        outcome="Passed", manifest=MANIFEST, manifest_digest=manifest_digest(MANIFEST), bytes=2, parameters=1, seconds=0
    )
    content = result.model_dump_json(by_alias=True, exclude_none=True).encode()
    with RegistryClient(registry.host, plain_http=True) as client:
        digest = client.push_document(f"{base_model_repository('base')}/results", content, RESULT_MEDIA_TYPE)
    ready = {"phase": "Ready", "manifestDigest": result.manifest_digest, "resultDigest": digest}
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        await past.make_namespace(kube, NAMESPACE)
        await past.make(kube, [builders.make_basemodel() | {"status": ready}])
        for obj in (
            builders.make_computepool(), builders.make_approvalpolicy(), builders.make_modelserver(), builders.make_evaluationsuite(),
        ):  # fmt: skip
            await kube.create(obj)
        for name in ("data", "models"):
            metadata = {"name": name, "namespace": NAMESPACE, "labels": {USABLE_BY_JOBS_LABEL: "true"}}
            await kube.create(
                {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim}
            )
        await _let_use(kube, builders.ENGINEER["username"])


async def _let_use(kube: KubeClient, user: str) -> None:
    """Give a person the right to use everything."""
    api = "rbac.authorization.k8s.io"
    metadata, rule = {"name": "engineer"}, {"apiGroups": ["tunegate.io"], "resources": ["*"], "verbs": ["use"]}
    await kube.create({"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [rule]})
    binding = {
        "apiVersion": f"{api}/v1", "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "engineer"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
    }  # fmt: skip
    await kube.create(binding)


async def _measure(
    plane: ControlPlane, make: Callable[[str, str], Json], kinds: dict[str, Place], jobs: int, singles: int
) -> dict[tuple[str, str], float]:
    """Return seconds by what was measured and the name of the kind of object."""
    found: dict[tuple[str, str], float] = {}
    seen = {name: Seen() for name in kinds}
    watched = {kinds[name]: one for name, one in seen.items()}
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube, _watching(plane, watched):
        alone = [f"single-{number}" for number in range(singles)]
        for job in alone:
            await _create(kube, make(job, NAMESPACE), seen.values())
            for one in seen.values():
                await one.until([job])
            await asyncio.sleep(PAUSE_SECONDS)
        burst, slots = [f"burst-{number}" for number in range(jobs)], asyncio.Semaphore(CREATING)

        async def create(job: str) -> None:
            async with slots:
                await _create(kube, make(job, NAMESPACE), seen.values())

        began = time.monotonic()
        await asyncio.gather(*(create(job) for job in burst))
        for name, one in seen.items():
            found |= _quantiles("one at a time", name, await one.until(alone))
            found |= _quantiles("burst", name, await one.until(burst))
            found["burst, all", name] = max(one.made[job] for job in burst) - began
    return found


def _quantiles(what: str, name: str, seconds: list[float]) -> dict[tuple[str, str], float]:
    last = sorted(seconds)[int(0.95 * len(seconds))]
    return {(f"{what}, p50", name): statistics.median(seconds), (f"{what}, p95", name): last}


async def _create(kube: KubeClient, job: Json, seen: Iterable[Seen]) -> None:
    now = time.monotonic()
    for one in seen:
        one.created[job["metadata"]["name"]] = now
    await kube.create(job)


@asynccontextmanager
async def _watching(plane: ControlPlane, seen: dict[Place, Seen]) -> AsyncIterator[None]:
    """Note when the first object of a kind that a job owns is told of."""
    tasks, processes = [], []
    for (api, plural), one in seen.items():
        command = [*kubectl(plane), "get", "--raw", f"/{api}/namespaces/{NAMESPACE}/{plural}?watch=1"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE)
        processes.append(process)
        tasks.append(asyncio.create_task(_note(process, one)))
    await asyncio.sleep(2)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _note(process: asyncio.subprocess.Process, seen: Seen) -> None:
    while line := await process.stdout.readline() if process.stdout else b"":
        for owner in json.loads(line)["object"]["metadata"].get("ownerReferences") or []:
            seen.made.setdefault(owner["name"], time.monotonic())
            seen.changed.set()
    seen.ended = True
    seen.changed.set()


def _show(who: str, rows: dict[tuple[str, str], float], process: Process) -> None:
    for (what, name), seconds in rows.items():
        print(f"| {who}, {name}: {what}, s | {seconds:.3f} |")
    print(f"| {who}: CPU in all, s | {process.cpu_seconds():.1f} |")
    print(f"| {who}: memory at most, MiB | {process.memory('VmHWM'):.0f} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
