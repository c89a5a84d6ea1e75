"""Namespaces full of history: jobs, releases and approvals that ended long ago, as the operator left them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.support.builders import DIGEST, make_approval, make_finetunejob, make_modelrelease
from tunegate.kube.client import KubeClient, ObjectRef

Json = dict[str, Any]
LONG_AGO = "2026-01-02T03:04:05Z"
AT_ONCE = 8
"""Objects that are made at the same time."""


def condition(type_: str, status: str = "True") -> Json:
    return {"type": type_, "status": status, "reason": "Done", "message": "", "lastTransitionTime": LONG_AGO,
            "observedGeneration": 1}  # fmt: skip


def ended_job(name: str, namespace: str, number: int) -> Json:
    """A job that passed its gate, measured its pool and left a baseline."""
    job = make_finetunejob(name, namespace)
    baseline = {"name": "Baseline", "state": "Done", "attempt": 1, "resultDigest": DIGEST, "inputs": digest(number),
                "completionTime": LONG_AGO, "message": "measured" * 20}  # fmt: skip
    stages = [{"name": one, "state": "Done", "attempt": 1, "resultDigest": digest(number), "completionTime": LONG_AGO,
               "message": "ended as planned " * 10} for one in ("Validate", "Train", "Seal", "Evaluate")]  # fmt: skip
    status = {
        "phase": "Succeeded", "observedGeneration": 1, "conditions": [condition("Complete"), condition("LineageRecorded")],
        "stages": [*stages, baseline], "throughput": "9.5", "completionTime": LONG_AGO,
        "pool": {"name": "pool", "pricePerDeviceHour": "1", "currency": "USD"}, "suiteDataDigest": DIGEST,
    }  # fmt: skip
    return job | {"status": status}


def ended_release(name: str, namespace: str, job: str) -> Json:
    """A release that was revoked."""
    release = make_modelrelease(name, namespace, jobRef={"name": job, "uid": "u"})
    status = {
        "phase": "Revoked", "observedGeneration": 1, "releaseDigest": DIGEST, "serverRef": {"name": "server"},
        "servedName": f"{name}-01234567", "conditions": [condition("Approved", "False"), condition("LineageRecorded")],
    }  # fmt: skip
    return release | {"status": status}


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


async def make(kube: KubeClient, objects: Iterable[Json]) -> list[Json]:
    """Create objects with their status, a few at a time; return them as the API server has them, in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(obj: Json) -> Json:
        async with slots:
            made = await kube.create({name: part for name, part in obj.items() if name != "status"})
            if "status" in obj:
                made = await kube.apply(
                    {**{name: made[name] for name in ("apiVersion", "kind")}, "status": obj["status"],
                     "metadata": {name: made["metadata"].get(name) for name in ("name", "namespace", "uid")}},
                    subresource="status", manager="past",
                )  # fmt: skip
            return made

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(obj)) for obj in objects]
    return [task.result() for task in tasks]


async def fill(kube: KubeClient, namespace: str, first: int, jobs: int, releases: int, approvals: int) -> list[Json]:
    """Make history in a namespace, numbered from ``first``; return the releases. Approvals are spread over them."""
    await make(kube, (ended_job(f"job-{first + n}", namespace, first + n) for n in range(jobs)))
    made = await make(
        kube, (ended_release(f"release-{first + n}", namespace, f"job-{first + n}") for n in range(releases))
    )
    subjects = [
        {"kind": "ModelRelease", "name": one["metadata"]["name"], "uid": one["metadata"]["uid"]} for one in made
    ]
    await make(
        kube,
        (
            make_approval(f"approval-{first + n}", namespace, subjectRef=subjects[n % releases])
            for n in range(approvals if releases else 0)
        ),
    )
    return made


async def make_namespace(kube: KubeClient, name: str) -> None:
    """Create a namespace unless it is there."""
    if await kube.get(ObjectRef("v1", "Namespace", name)) is None:
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
