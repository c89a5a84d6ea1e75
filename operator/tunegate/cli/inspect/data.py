"""`inspect data`: the data statement of a job, for people; as JSON, as Croissant; or the page that shows rows, for some people."""

from __future__ import annotations

import json
from argparse import Namespace

from pydantic import ValidationError

from tunegate.api.datastatement import DataStatement
from tunegate.api.stage.layout import DATA_PAGE_MEDIA_TYPE, DATA_STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import ValidateResult
from tunegate.cli import job_obstacles, oci_registry, results, screen
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import CommandFailure
from tunegate.errors import wrong_fields
from tunegate.tracking.croissant import croissant

FORMATS = ("text", "json", "croissant", "html")


def data(cluster: Cluster, options: Namespace) -> int:
    """Print what was stated of a job's training data, verified against the digests in the job's result."""
    job = results.job_named(cluster, options.subject, options.namespace or cluster.namespace)
    instead = f"tunegate describe {options.subject} -n {job.namespace}"
    with oci_registry.opened(options, instead) as client:
        repository, result = results.pull_result(client, job, "Validate", ValidateResult)
        if result.statement_digest is None or result.page_digest is None:
            raise CommandFailure(f"job {job.name} has no data statement")
        if options.output == "html":
            page = client.pull_document(f"{repository}/data", result.page_digest, media_type=DATA_PAGE_MEDIA_TYPE)
            print(page.decode(), end="")
            return 0
        content = client.pull_document(
            f"{repository}/results", result.statement_digest, media_type=DATA_STATEMENT_MEDIA_TYPE
        )
    _print(content, options.output, job_obstacles.pushed_by(job, options) if options.output == "text" else None)
    return 0


def _print(content: bytes, output: str, pushed_by: str | None) -> None:
    if output == "json":
        print(content.decode())
        return
    try:
        statement = DataStatement.model_validate_json(content)
    except ValidationError as error:
        raise CommandFailure(f"the data statement cannot be read: {wrong_fields(error)}") from None
    if output == "croissant":
        print(json.dumps(croissant(statement), indent=2))
        return
    out = screen.console()
    # The statement is of the stage, which is not told who pushed: the exchange has it.
    screen.facts(out, [*statement.facts().items(), *([("Pushed by", pushed_by)] if pushed_by else [])])
    screen.heading(out, "Findings", "" if statement.findings else "none")
    rows = [(one.action, one.check, one.message, one.places()) for one in statement.findings]
    if rows:
        screen.table(out, ("action", "check", "what was found", "rows"), rows, indent=2)
