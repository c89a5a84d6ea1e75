"""`suspend` and `resume`: stop a job's attempt and keep its checkpoints, and go on from them."""

from __future__ import annotations

from argparse import Namespace

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import Changed, CommandFailure
from tunegate.cli.reference import needed


def suspend(cluster: Cluster, options: Namespace) -> int:
    """Ask that the job stops until somebody resumes it."""
    return _set(cluster, options, wanted=True)


def resume(cluster: Cluster, options: Namespace) -> int:
    """Ask that a suspended job goes on."""
    return _set(cluster, options, wanted=False)


def _set(cluster: Cluster, options: Namespace, *, wanted: bool) -> int:
    name, namespace = options.subject.name, options.namespace or cluster.namespace
    job = needed(cluster, FineTuneJob, name, namespace)
    if job.status.ended:
        raise CommandFailure(
            f"job/{name} has ended ({job.status.phase}); for another job like it: tunegate retry job/{name}"
        )
    if job.spec.suspend == wanted:
        print(f"job/{name} is {'suspended already' if wanted else 'not suspended'}")
        return 0
    try:
        cluster.patch(FineTuneJob, name, namespace, {"metadata": {"uid": job.uid}, "spec": {"suspend": wanted}})
    except Changed as error:
        raise Changed(f"job/{name} was deleted and made again in the meantime: look first") from error
    if wanted:
        print(f"job/{name} will stop; to go on from its last checkpoint: tunegate resume job/{name}")
    else:
        print(f"job/{name} goes on; to follow it: tunegate get jobs {name} -w")
    return 0
