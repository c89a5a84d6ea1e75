"""`list` and `status`: how things stand, as tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tunegate.api.approval import CountedApproval, DroppedApproval, Tally
from tunegate.api.finetunejob import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.shared import StatusBase
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import CommandFailure, Forbidden

Row = tuple[str, ...]


def list_all(cluster: Cluster, options: Namespace) -> int:
    """Print jobs, releases and servers of a namespace, or of all that the person may read."""
    namespace = "" if options.all_namespaces else options.namespace or cluster.namespace
    console = Console(highlight=False)
    jobs = readable(cluster.all, FineTuneJob, namespace)
    releases = readable(cluster.all, ModelRelease, namespace)
    servers = readable(cluster.all, ModelServer, namespace)
    if jobs is None and releases is None and servers is None:
        where = f"namespace {namespace}" if namespace else "the whole cluster: name a namespace with -n"
        raise Forbidden(f"you may not list jobs, releases or servers of {where}")
    _table(
        console,
        "Jobs",
        ("namespace", "name", "phase", "progress", "gate", "message"),
        [_job(one) for one in jobs or []],
    )
    headers = ("namespace", "name", "phase", "approvals", "model", "message")
    _table(console, "Releases", headers, [_release(one) for one in releases or []])
    headers = ("namespace", "name", "phase", "base", "ready", "routes")
    _table(console, "Servers", headers, [_server(one) for one in servers or []])
    return 0


def status(cluster: Cluster, options: Namespace) -> int:
    """Print one job, release or server in full."""
    namespace = options.namespace or cluster.namespace
    found = [
        one
        for model in (FineTuneJob, ModelRelease, ModelServer)
        if (one := readable(cluster.get, model, options.name, namespace)) is not None
    ]
    if not found:
        raise CommandFailure(f"no job, release or server named {options.name} in namespace {namespace}")
    console = Console(highlight=False)
    for one in found:
        console.print(f"[bold]{one.kind} {namespace}/{one.name}[/]: {one.status.phase}")
        if one.status.message:
            console.print(f"  {one.status.message}", markup=False)
        if isinstance(one, FineTuneJob):
            _job_details(console, one)
        elif isinstance(one, ModelRelease):
            _release_details(console, one)
        else:
            _server_details(console, one)
        _conditions(console, one.status)
    return 0


def _job(job: FineTuneJob) -> Row:
    progress, gate = job.status.progress, job.status.gate
    return (
        job.namespace, job.name, job.status.phase, f"{progress.percent} %" if progress else "",
        f"{gate.outcome} ({gate.tuned})" if gate else "", job.status.message,
    )  # fmt: skip


def _release(release: ModelRelease) -> Row:
    status = release.status
    return (
        release.namespace, release.name, status.phase, status.approvals or "", release.spec.model_name, status.message
    )  # fmt: skip


def _server(server: ModelServer) -> Row:
    status = server.status
    routes = ", ".join(f"{route.name} > {route.served_name or route.state}" for route in status.routes)
    ready = f"{status.ready_replicas}/{server.spec.replicas}"
    return (server.namespace, server.name, status.phase, server.spec.base_model_ref, ready, routes)


def _table(console: Console, title: str, headers: Row, rows: Sequence[Row]) -> None:
    if not rows:
        console.print(f"{title}: none")
        return
    table = Table(*headers, title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)


def _job_details(console: Console, job: FineTuneJob) -> None:
    rows = [
        (stage.name, stage.state, str(stage.attempt), stage.message or stage.reason or "")
        for stage in job.status.stages
    ]
    _table(console, "  Stages", ("stage", "state", "attempt", "message"), rows)
    waiver = job.status.waiver
    if waiver is not None:
        granted = f", granted {waiver.granted_time}" if waiver.granted_time else ""
        console.print(f"  Waiver    {waiver.digest}{granted}")
        found = [(one.check, str(one.count), one.message) for one in waiver.findings]
        _table(console, "  To be waived", ("finding", "count", "message"), found)
        _tally(console, waiver)
    _costs(console, job)
    gate = job.status.gate
    if gate is not None:
        console.print(f"  Gate {gate.outcome}: {gate.metric} {gate.tuned} on {gate.questions} questions")
        arms = [(arm.name, arm.score, arm.difference, f"[{arm.lower}, {arm.upper}]", arm.outcome) for arm in gate.arms]
        _table(console, "  Against", ("arm", "score", "difference", "95 %", "outcome"), arms)


def _costs(console: Console, job: FineTuneJob) -> None:
    """Print what was expected beside what was used."""
    status, expected = job.status, job.status.estimates
    rows = []
    if expected is not None and expected.throughput is not None:
        rows.append(("estimated", expected.device_hours, f"{expected.cost} {expected.currency}"))
    if status.device_hours is not None:
        cost = f"{status.cost} {status.pool.currency}" if status.cost and status.pool else ""
        rows.append(("used", status.device_hours, cost))
    if rows:
        _table(console, "  Training", ("", "device hours", "cost"), rows)


def _release_details(console: Console, release: ModelRelease) -> None:
    status = release.status
    console.print(f"  digest    {status.release_digest or '(none yet)'}")
    console.print(f"  server    {status.server or '-'}, served as {status.served_name or '-'}")
    override = status.override
    if override is not None:
        rows = [(one.name, one.username, one.role, one.time) for one in override.counted]
        held = f", from {override.granted_time} until {override.until}, {override.outcome or 'in force'}"
        console.print(f"  overrides {override.overrides}{held if override.granted_time else ''}")
        _table(console, "  Overrides", ("override", "by", "role", "time"), rows)
    _tally(console, status)


def _tally(console: Console, tally: Tally) -> None:
    console.print(f"  approvals {tally.approvals or '-'}")
    rows = [(one.name, _named(one), one.role, "counted", one.time) for one in tally.counted]
    rows += [(one.name, _named(one), "", one.reason, one.message) for one in tally.dropped]
    rows += [("", "", one.role, "missing", str(one.missing)) for one in tally.missing]
    _table(console, "  Decisions", ("approval", "by", "role", "", ""), rows)


def _named(one: CountedApproval | DroppedApproval) -> str:
    return f"{one.username} ({one.person_id})" if one.person_id else one.username


def _server_details(console: Console, server: ModelServer) -> None:
    rows = [(one.served_name, one.release, one.state, one.reason) for one in server.status.adapters]
    _table(console, "  Adapters", ("served name", "release", "state", "reason"), rows)
    routes = [(one.name, one.state, one.served_name or "", one.reason) for one in server.status.routes]
    _table(console, "  Routes", ("route", "state", "answers with", "reason"), routes)


def _conditions(console: Console, status: StatusBase) -> None:
    rows = [(one.type, one.status, one.reason, one.message) for one in status.conditions]
    if rows:
        _table(console, "  Conditions", ("type", "", "reason", "message"), rows)
