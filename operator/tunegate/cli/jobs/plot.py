"""`plot`: a job's losses and scores in the terminal, or as an image.

Losses come from the training's result where the registry is open to this person, otherwise from the logs of the training's
pods, for as long as there are any. Scores stand in the job's status.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.results import TrainResult
from tunegate.cli import oci_registry, results, screen
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.cli.jobs.curves import Curves, bars, of_log, of_result
from tunegate.cli.jobs.svg_chart import svg
from tunegate.cli.jobs.text_chart import lines_of_bars, lines_of_curves
from tunegate.cli.reference import needed
from tunegate.reconcile.naming import JOB_UID_LABEL, STAGE_LABEL

FORMATS = ("text", "svg", "json")
PIPE_COLUMNS = 80


def plot(cluster: Cluster, options: Namespace) -> int:
    """Print what is known of a job's losses and scores."""
    job = needed(cluster, FineTuneJob, options.subject.name, options.namespace or cluster.namespace)
    curves, why = _curves(cluster, job, options)
    scores = bars(job)
    if not curves.known and not scores:
        raise CommandFailure(f"job/{job.name} has neither losses nor scores ({job.status.phase}): {why}")
    if options.output == "json":
        screen.write({
            "training": curves.training, "development": curves.development, "bestStep": curves.best_step,
            "scores": [{"name": one.name, "score": one.score, "outcome": one.outcome} for one in scores],
        }, "json")  # fmt: skip
        return 0
    if not curves.known:
        print(f"note: no losses: {screen.shown(why)}", file=sys.stderr)
    metric = f", {job.status.gate.metric}" if job.status.gate else ""
    if options.output == "svg":
        print(svg(f"{job.namespace}/{job.name}: {job.status.phase}{metric}", curves, scores), end="")
        return 0
    out = screen.console()
    width = out.width if out.is_terminal else PIPE_COLUMNS
    screen.heading(out, f"job/{job.name}", job.status.phase)
    for line in lines_of_curves(curves, width) if curves.known else ():
        out.print(line)
    if scores:
        screen.heading(out, f"Scores at the gate{metric}")
        for line in lines_of_bars(scores, width):
            out.print(line)
    return 0


def _curves(cluster: Cluster, job: FineTuneJob, options: Namespace) -> tuple[Curves, str]:
    """Return the losses, and why there are none where there are none."""
    if job.spec.source == "Import":
        return Curves(), "the adapter was tuned elsewhere"
    place = oci_registry.known(options)
    if place is not None and job.status.stage("Train").result_digest is not None:
        try:
            with oci_registry.opened_at(place) as client:
                return of_result(results.pull_result(client, job, "Train", TrainResult)[1]), ""
        except oci_registry.RegistryAway:
            if options.registry:
                raise
    try:
        return of_log(_log(cluster, job)), _no_logs(job)
    except Forbidden as error:
        return Curves(), str(error)


def _no_logs(job: FineTuneJob) -> str:
    if job.status.stage("Train").state == "Waiting":
        return "it has not been trained yet"
    return "its training's pods are gone, and their logs with them; with a registry in the settings its result is read"


def _log(cluster: Cluster, job: FineTuneJob) -> Iterator[str]:
    """Yield the log lines of the training's pods, attempt by attempt."""
    path = f"/api/v1/namespaces/{job.namespace}/pods"
    pods = cluster.listed(path, f"{JOB_UID_LABEL}={job.uid},{STAGE_LABEL}=Train")
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
        container = str(pod["spec"]["containers"][0]["name"])
        yield from cluster.lines(f"{path}/{pod['metadata']['name']}/log", {"container": container})
