"""`answers`: what the models answered at the gate, for evaluation owners and reviewers.

The answers lie in a repository of their own, so that reading them can be allowed to some people only; the questions stay
on the suite's volume and are named by their row.
"""

from __future__ import annotations

import json
from argparse import Namespace

from tunegate.api.stages import ANSWERS_MEDIA_TYPE, BaselineResult, EvaluateResult
from tunegate.cli import registry, results, screen
from tunegate.cli.cluster import Cluster, Json

STAGES: dict[str, type[BaselineResult | EvaluateResult]] = {"baseline": BaselineResult, "evaluate": EvaluateResult}


def answers(cluster: Cluster, options: Namespace) -> int:
    """Print the answers that a job's gate was judged by, verified against the digest in the job's result."""
    job = results.job_named(cluster, options.name, options.namespace or cluster.namespace)
    with registry.opened(options) as client:
        repository, result = results.pull_result(client, job, options.stage, STAGES[options.stage])
        document = client.pull_document(
            f"{repository}/answers", result.answers_digest, media_type=ANSWERS_MEDIA_TYPE
        ).decode()
    if options.output == "json":
        print(document, end="")
    else:
        _show([json.loads(line) for line in document.splitlines()[1:]])
    return 0


def _show(lines: list[Json]) -> None:
    out = screen.console()
    screen.heading(out, "Answers, by row of the suite")
    rows = [(line["arm"], str(line["question"]), screen.shown(line["answer"]), line["finish"]) for line in lines]
    screen.table(out, ("arm", "question", "answer", "ended by"), rows)
