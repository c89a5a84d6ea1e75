"""`inspect answers`: what the models answered at the gate, question by question, for evaluation owners and reviewers.

The answers lie in a repository of their own, so that reading them can be allowed to some people only: they quote the
suite's questions and expected answers.
"""

from __future__ import annotations

from argparse import Namespace

from pydantic import ValidationError

from tunegate.api.answers import TUNED, of_lines
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.layout import ANSWERS_MEDIA_TYPE
from tunegate.api.stage.results import BaselineResult, EvaluateResult
from tunegate.cli import oci_registry, results, screen
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import CommandFailure
from tunegate.cli.inspect.answers_page import Kept, print_page
from tunegate.errors import wrong_fields
from tunegate.registry.client import RegistryClient


def answers(cluster: Cluster, options: Namespace) -> int:
    """Print the answers that a job's gate was judged by, verified against the digest in the job's result."""
    job = results.job_named(cluster, options.subject, options.namespace or cluster.namespace)
    instead = f"tunegate describe {options.subject} -n {job.namespace}"
    with oci_registry.opened(options, instead) as client:
        kept, document = _pull(client, job)
    if options.output == "json":
        print(document, end="")
        return 0
    against = options.against or kept.best
    if against not in kept.alternatives:
        raise CommandFailure(f"--against {against}: the alternatives are {', '.join(kept.alternatives)}")
    print_page(screen.console(), kept, against=against, every=options.all, full=options.full)
    return 0


def _pull(client: RegistryClient, job: FineTuneJob) -> tuple[Kept, str]:
    """Return the answers of the evaluation, or those of the baseline where the job came no further, and the document."""
    result: EvaluateResult | BaselineResult
    if job.status.stage("Evaluate").result_digest is not None:
        repository, result = results.pull_result(client, job, "Evaluate", EvaluateResult)
    elif job.status.stage("Baseline").result_digest is not None:
        repository, result = results.pull_result(client, job, "Baseline", BaselineResult)
    else:
        raise CommandFailure(f"job {job.name} has no answers: neither its baseline nor its evaluation has ended")
    content = client.pull_document(f"{repository}/answers", result.answers_digest, media_type=ANSWERS_MEDIA_TYPE)
    try:
        head, questions = of_lines(content)
    except ValidationError as error:
        raise CommandFailure(f"the answers cannot be read: {wrong_fields(error)}") from None
    scores: dict[str, float]
    if isinstance(result, EvaluateResult):
        scores = {arm.name: arm.score for arm in result.arms} | {TUNED: result.tuned[head.metric]}
    else:
        scores = {arm.name: arm.scores[head.metric] for arm in result.arms}
    if any(set(given) != set(scores) for given in (head.arms, *(one.answers for one in questions))):
        raise CommandFailure("the answers are not those of the arms in the job's result")
    return Kept(f"{job.namespace}/{job.name}", head, questions, scores), content.decode()
