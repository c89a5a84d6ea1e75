"""One object of each kind and name that the operator makes in a governed namespace, as its planners plan them."""

from __future__ import annotations

import json
from typing import Any

from tests.support.job_world import World as JobWorld
from tests.support.job_world import run_to
from tests.support.server_world import World as ServerWorld
from tests.support.server_world import release

Json = dict[str, Any]


def planned(namespace: str) -> dict[str, Json]:
    """Return the objects by kind and what they are for, without owners, which do not exist, and with nothing that runs."""
    server = ServerWorld()
    server.put(release("one"))
    first = server.step()
    job = JobWorld()
    run_to(job, "Train")
    made = [*first.creates, *first.applies, *job.others.values(), *job.jobs.values(), *namespace_objects()]
    found: dict[str, Json] = {}
    for obj in made:
        copy: Json = json.loads(json.dumps(obj))
        kept = {key: copy["metadata"][key] for key in ("name", "labels", "annotations") if key in copy["metadata"]}
        copy["metadata"] = {**kept, "namespace": namespace}
        copy.pop("status", None)
        if copy["kind"] == "Job":
            copy["spec"]["suspend"] = True
        if copy["kind"] == "Deployment":
            copy["spec"]["replicas"] = 0
        for subject in copy.get("subjects", []):
            subject["namespace"] = namespace
        found.setdefault(f"{copy['kind']} {copy['metadata']['name']}", copy)
    return found


def namespace_objects() -> list[Json]:
    labels = {"app.kubernetes.io/name": "tunegate", "app.kubernetes.io/managed-by": "tunegate"}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tunegate-ca", "labels": labels}, "data": {}},
    ]
