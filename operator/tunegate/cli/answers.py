"""`answers`: what the models answered at the gate, for evaluation owners and reviewers.

The answers lie in a repository of their own, so that reading them can be allowed to some people only; the questions stay
on the suite's volume and are named by their row.
"""

from __future__ import annotations

import json
from argparse import Namespace

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from tunegate.api.finetunejob import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.stages import ANSWERS_MEDIA_TYPE, RESULT_MEDIA_TYPE, STAGE_RESULT, BaselineResult, EvaluateResult
from tunegate.cli import registry
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure
from tunegate.errors import wrong_fields
from tunegate.reconcile.naming import stage_repository

STAGES = {"baseline": BaselineResult, "evaluate": EvaluateResult}


def answers(cluster: Cluster, options: Namespace) -> int:
    """Print the answers that a job's gate was judged by, verified against the digest in the job's result."""
    namespace = options.namespace or cluster.namespace
    job = _job(cluster, options.name, namespace)
    repository, digest = stage_repository(job, options.stage), job.status.stage(options.stage).result_digest
    if digest is None:
        raise CommandFailure(f"job {job.name} has no result of stage {options.stage}")
    with registry.opened(options) as client:
        content = client.pull_document(f"{repository}/results", digest, media_type=RESULT_MEDIA_TYPE)
        try:
            result = STAGE_RESULT.validate_json(content)
        except ValidationError as error:
            raise CommandFailure(f"the result of {options.stage} cannot be read: {wrong_fields(error)}") from None
        if not isinstance(result, STAGES[options.stage]):
            raise CommandFailure(f"{digest} is the result of stage {result.stage}")
        document = client.pull_document(
            f"{repository}/answers", result.answers_digest, media_type=ANSWERS_MEDIA_TYPE
        ).decode()
    if options.output == "json":
        print(document, end="")
    else:
        _show([json.loads(line) for line in document.splitlines()[1:]])
    return 0


def _job(cluster: Cluster, name: str, namespace: str) -> FineTuneJob:
    """Return the job of that name, or the job of the release of that name."""
    release = cluster.get(ModelRelease, name, namespace)
    if release is None:
        return cluster.need(FineTuneJob, name, namespace)
    job = cluster.need(FineTuneJob, release.spec.job_ref.name, namespace)
    if job.uid != release.spec.job_ref.uid:
        raise CommandFailure(f"the job of release {name} is gone; another one has its name")
    return job


def _show(lines: list[Json]) -> None:
    table = Table(title="Answers, by row of the suite", title_justify="left")
    for column in ("arm", "question", "answer", "ended by"):
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(line["arm"], str(line["question"]), line["answer"], line["finish"])
    Console(highlight=False, markup=False).print(table)
