"""`logs`: what the pods of a job's stage print, read with the person's own rights."""

from __future__ import annotations

import sys
from argparse import Namespace

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure
from tunegate.cli.reference import needed
from tunegate.cli.screen import shown
from tunegate.reconcile.naming import ATTEMPT_LABEL, JOB_UID_LABEL, STAGE_LABEL


def logs(cluster: Cluster, options: Namespace) -> int:
    """Print the logs of the pods of one attempt, one pod after the other; followed is the first."""
    namespace = options.namespace or cluster.namespace
    job = needed(cluster, FineTuneJob, options.subject.name, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods"
    stage = f",{STAGE_LABEL}={options.stage}" if options.stage else ""
    pods = newest(cluster.listed(path, f"{JOB_UID_LABEL}={job.uid}{stage}"))
    if not pods:
        what = f"stage {options.stage} of {options.subject}" if options.stage else str(options.subject)
        told = f": {job.status.message}" if job.status.message else ""
        raise CommandFailure(f"{what} has no pods now, and logs go with them. The job is {job.status.phase}{told}")
    names = [str(one["metadata"]["name"]) for one in pods]
    if options.follow and len(names) > 1:
        print(f"following {names[0]}; for others: kubectl logs -f {' or '.join(names[1:])}", file=sys.stderr)
    for pod in pods[:1] if options.follow else pods:
        if len(pods) > 1:
            print(f"==> {pod['metadata']['name']}", file=sys.stderr, flush=True)
        query = {"container": str(pod["spec"]["containers"][0]["name"])} | (
            {"follow": "true"} if options.follow else {}
        )
        for line in cluster.lines(f"{path}/{pod['metadata']['name']}/log", query):
            print(shown(line), flush=options.follow)
    return 0


def newest(pods: list[Json]) -> list[Json]:
    """Return the pods of the attempt that was begun last, by name: with several nodes the first of them comes first."""

    def attempt(pod: Json) -> tuple[str, str]:
        labels = pod["metadata"].get("labels") or {}
        return str(labels.get(STAGE_LABEL)), str(labels.get(ATTEMPT_LABEL))

    if not pods:
        return []
    last = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return sorted((pod for pod in pods if attempt(pod) == attempt(last)), key=lambda pod: str(pod["metadata"]["name"]))
