"""`describe`: one release, job or server in full."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from tunegate.api.evaluationsuite import told_outcome
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import JobWaiver
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import JobReason
from tunegate.api.routes import CanaryStatus, ShadowStatus
from tunegate.api.shared import StatusBase
from tunegate.cli import addresses, decisions, job_obstacles, oci_registry, screen, waits
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.describe import page, release_view
from tunegate.cli.describe.words import text_of
from tunegate.cli.failure import CommandFailure
from tunegate.cli.reference import JOB, RELEASE, needed


def describe(cluster: Cluster, options: Namespace) -> int:
    """Print all that a reviewer needs of a release, or how a job or a server stands."""
    namespace, named = options.namespace or cluster.namespace, options.subject
    if named.kind == RELEASE:
        document = _dossier(cluster, needed(cluster, ModelRelease, named.name, namespace), options)
        if options.output == "text":
            page.print_page(screen.console(pipe_width=screen.PAGE_WIDTH), document)
        else:
            screen.write(document, options.output)
        return 0
    if options.registry:
        hint = f"; for what was found in its data: tunegate inspect data {named}" if named.kind == JOB else ""
        raise CommandFailure(f"--registry is for a release; of {named} nothing is read there{hint}")
    one: FineTuneJob | ModelServer = (
        needed(cluster, FineTuneJob, named.name, namespace)
        if named.kind == JOB
        else needed(cluster, ModelServer, named.name, namespace)
    )
    if options.output == "text":
        _print(screen.console(pipe_width=screen.PAGE_WIDTH), cluster, one)
    else:
        screen.write(one.model_dump(mode="json", by_alias=True, exclude_none=True), options.output)
    return 0


def _dossier(cluster: Cluster, release: ModelRelease, options: Namespace) -> Json:
    """Return the page, with what only the registry holds if options or settings name one.

    If the registry of the settings does not answer or lets this person in no further, the page says so and goes without.
    Content that differs from what was approved is always a failure.
    """
    document = _collected(cluster, release, options)
    job = release_view.job_of(cluster, release)
    pushed = job_obstacles.pushed_by(job, options) if job is not None else None
    document["data"] |= {} if pushed is None else {"pushedBy": pushed}
    return document


def _collected(cluster: Cluster, release: ModelRelease, options: Namespace) -> Json:
    place = oci_registry.known(options)
    if place is None or (release.status.statement_digest is None and not options.registry):
        return release_view.collect(cluster, release)
    try:
        with oci_registry.opened_at(place) as client:
            return release_view.collect(cluster, release, client)
    except oci_registry.RegistryAway as error:
        if options.registry:
            raise
        print(f"note: {error}. The page is shown without what the registry holds", file=sys.stderr)
        return release_view.collect(cluster, release)


def _print(out: Console, cluster: Cluster, one: FineTuneJob | ModelServer) -> None:
    screen.heading(out, f"{one.kind} {one.namespace}/{one.name}", one.status.phase)
    if one.status.message:
        out.print(f"  {screen.shown(one.status.message)}")
    if isinstance(one, FineTuneJob):
        waits_for = waits.told(one, datetime.now(UTC))
        if waits_for is not None:
            out.print(f"  waits for {waits_for}")
        _job(out, cluster, one)
    else:
        _server(out, one)
    _conditions(out, one.status)


def _job(out: Console, cluster: Cluster, job: FineTuneJob) -> None:
    screen.facts(out, list(_asked(cluster, job).items()))
    waiver = job.status.waiver
    if waiver is not None:
        granted = f", granted {waiver.granted_time}" if waiver.granted_time else ""
        screen.heading(out, "Waiver", f"{waiver.digest}{granted}")
        _part(out, "To be waived", ("finding", "what was found"), [(one.check, one.message) for one in waiver.findings])
        screen.heading(out, "Other findings, and rows")
        out.print(f"  not read: they lie in the registry; look with: tunegate inspect data job/{job.name}")
        _decisions(out, cluster, job, waiver)
    rows = [
        (stage.name, stage.state, str(stage.attempt), stage.message or stage.reason or "")
        for stage in job.status.stages
    ]
    _part(out, "Stages", ("stage", "state", "attempt", "message"), rows)
    _costs(out, job)
    gate, tries = job.status.gate, job.status.suite_tries
    if tries is not None:
        screen.heading(out, "Tries on the suite's questions", str(tries.total))
        newest = [
            (one.time, one.requested_by or "in another namespace", one.job, one.suite, one.outcome)
            for one in tries.newest
        ]
        _part(out, "Newest", ("at", "by", "job", "suite", "outcome"), newest)
    if gate is not None:
        screen.heading(out, f"Gate: {gate.metric} {gate.tuned} on {gate.questions} questions,", gate.outcome)
        arms = [
            (
                arm.name, arm.score, arm.difference, f"{arm.lower} to {arm.upper}",
                told_outcome(arm.name, arm.outcome, arm.answered, gate.questions),
            )
            for arm in gate.arms
        ]  # fmt: skip
        if gate.asked_as is not None:
            screen.facts(out, [("asked with", text_of({"temperature": 0, **gate.asked_as.to_dict()}))])
        _part(out, "Against", ("arm", "score", "difference", "95 %", "outcome"), arms)


def _asked(cluster: Cluster, job: FineTuneJob) -> dict[str, str]:
    """Return what was asked for, as one signs for it: data, base model, settings of the training."""
    data, found = job.spec.dataset, job.status.dataset
    server = readable(cluster.get, ModelServer, job.spec.server_ref.name, job.namespace)
    facts = {
        "requested by": job.spec.requested_by.username,
        "contributors": ", ".join(one.username for one in job.spec.contributors) or "none are named",
        "derived from": f"job/{job.spec.derived_from.name}" if job.spec.derived_from else "no other job",
        "data": f"{data.classification}, {data.license}, {data.source}",
        "rows": f"{found.rows}, {found.duplicates} duplicates" if found is not None else "not counted yet",
        "task": job.spec.intent.task_type,
        "base model": server.spec.base_model_ref.name
        if server is not None
        else "the server is gone, or you may not read it",
        "server, suite": f"{job.spec.server_ref.name}, {job.spec.suite_ref.name}",
    }
    method = text_of(job.spec.method.to_dict()) if job.spec.method is not None else "none: an adapter is taken over"
    run = addresses.mlflow_run(cluster, job.namespace, job.status.mlflow_run_id)
    if run is None and job.status.mlflow_run_id:
        run = f"{job.status.mlflow_run_id}: tunegate mlflow job/{job.name} -n {job.namespace}"
    return facts | {"training": method} | ({"MLflow run": run} if run else {})


def _costs(out: Console, job: FineTuneJob) -> None:
    """Print what was expected beside what was used."""
    status, expected = job.status, job.status.estimates
    rows = []
    if expected is not None and expected.throughput is not None:
        rows.append(("estimated", expected.device_hours, f"{expected.cost} {expected.currency}"))
    if status.device_hours is not None:
        cost = f"{status.cost} {status.pool.currency}" if status.cost and status.pool else ""
        rows.append(("used", status.device_hours, cost))
    if rows:
        _part(out, "Training", ("", "device hours", "cost"), rows)


def _decisions(out: Console, cluster: Cluster, job: FineTuneJob, waiver: JobWaiver) -> None:
    """Print who decided on the waiver, as on the page of a release."""
    ended = job.status.phase != "PendingWaiver"
    stopped = any(one.type == "Waived" and one.reason == JobReason.WAIVER_REJECTED for one in job.status.conditions)
    decisions.print_table(out, waiver.approvals, decisions.collect(cluster, job, waiver, stopped=stopped))
    decisions.print_missing(out, decisions.missing(waiver, waiver.rules, final=ended))


def _server(out: Console, server: ModelServer) -> None:
    adapters = [(one.served_name, one.release_ref.name, one.state, one.reason) for one in server.status.adapters]
    _part(out, "Adapters", ("served name", "release", "state", "reason"), adapters)
    routes = [
        (one.name, one.state, ", ".join(f"{to.served_name} {to.weight} %" for to in one.targets), one.reason)
        for one in server.status.routes
    ]
    _part(out, "Routes", ("route", "state", "answers with", "reason"), routes)
    for one in server.status.routes:
        if one.canary is not None:
            _canary(out, one.name, one.canary)
        if one.shadow is not None:
            _shadow(out, one.name, one.shadow)


def _canary(out: Console, route: str, canary: CanaryStatus) -> None:
    """Print how far a newer release is, and what was measured of both."""
    screen.heading(out, f"Newer release of route {route}", canary.state)
    facts = [
        ("release", canary.candidate),
        ("beside", canary.stable),
        ("step", str(canary.step)),
        ("since", canary.start_time),
    ]
    screen.facts(out, [*facts, ("", canary.message)])
    if canary.measured:
        rows = [
            (one.served_name, str(one.requests), str(one.errors), one.latency, one.tokens) for one in canary.measured
        ]
        headers = ("served name", "answers", "failed", "95 % within (s)", "tokens")
        _part(out, f"Measured until {canary.measured_time}", headers, rows)


def _shadow(out: Console, route: str, shadow: ShadowStatus) -> None:
    """Print what copies of a route's requests showed."""
    screen.heading(out, f"Shadow of route {route}", shadow.state)
    facts = [
        ("release", shadow.release_ref.name),
        ("why", shadow.reason),
        ("measured until", shadow.measured_time or ""),
    ]
    if shadow.copies:
        facts += [
            ("copies", f"{shadow.copies}, {shadow.errors} failed"), ("95 % within (s)", shadow.latency),
            ("tokens", shadow.tokens), ("same text", f"{shadow.agreed} of {shadow.compared} compared"),
        ]  # fmt: skip
    screen.facts(out, [(name, value) for name, value in facts if value])


def _conditions(out: Console, status: StatusBase) -> None:
    rows = [(one.type, one.status, one.reason, one.message) for one in status.conditions]
    if rows:
        _part(out, "Conditions", ("type", "", "reason", "message"), rows)


def _part(out: Console, title: str, headers: screen.Row, rows: Sequence[screen.Row]) -> None:
    screen.heading(out, title, "" if rows else "none")
    if rows:
        screen.table(out, headers, rows, indent=2)
