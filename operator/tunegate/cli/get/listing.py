"""`get`: how releases, jobs and servers stand, one line each, and who is waited for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from tunegate.api.approval import Tally
from tunegate.api.conditions import is_true
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.shared import Person
from tunegate.cli import screen
from tunegate.cli.ages import age
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import Forbidden, WrongUsage
from tunegate.cli.get import watch
from tunegate.cli.get.columns import LESS_IMPORTANT, cells, titles
from tunegate.cli.reference import needed, reference_of
from tunegate.cli.waits import awaited

T = TypeVar("T", bound=Resource)
RELEASES = ("name", "model", "phase", "approvals", "waitsFor", "requestedBy", "age")
JOBS = ("name", "phase", "progress", "gate", "waitsFor", "requestedBy", "age", "message")
SERVERS = ("name", "phase", "base", "ready", "answers", "age")
MORE: dict[type[Resource], tuple[str, ...]] = {
    ModelRelease: ("risk", "servedName", "digest", "message"), FineTuneJob: ("deviceHours", "cost"),
    ModelServer: ("endpoint", "message"),
}  # fmt: skip
"""Columns of `-o wide` beside the others."""
ASKS_PEOPLE = "asksPeople"
"""Of a line: people have to decide, so it comes first; it is not shown."""


class OpenDecisions:
    """Whom open decisions wait for, as one person sees it: asks once for each role and namespace what this person may do."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._held: dict[tuple[str, str], bool] = {}
        self._me: str | None = None

    def waits_for(self, tally: Tally, requester: Person, namespace: str) -> str:
        """Return the roles with open slots; "you" where this person could fill one."""
        open_slots = tally.missing
        out = {one.username for one in tally.dropped if one.reason in ("Withdrawn", "IsContributor")}
        done = {one.username for one in tally.counted} | {requester.username} | out
        return ", ".join(
            f"{one.role}{f' x{one.missing}' if one.missing > 1 else ''}"
            f"{' (you)' if self._mine(one.role, namespace, done) else ''}"
            for one in open_slots
        )

    def _mine(self, role: str, namespace: str, done: set[str]) -> bool:
        if self._me is None:
            self._me = str(self._cluster.whoami().get("username", ""))
        if self._me in done:
            return False
        if (role, namespace) not in self._held:
            self._held[role, namespace] = self._cluster.may("approve", "approvalroles", role, namespace)
        return self._held[role, namespace]


def releases(cluster: Cluster, options: Namespace) -> int:
    """List releases: those that wait for people first, then the newest."""
    decisions = OpenDecisions(cluster)

    def row(one: ModelRelease) -> Json:
        status = one.status
        people = status.phase == "PendingApproval" or is_true(status.conditions, "QuorumLost")
        return {
            "model": one.spec.model_name, "phase": status.phase, "approvals": status.approvals or "-",
            "waitsFor": decisions.waits_for(status, one.spec.requested_by, one.namespace) if people else "-",
            ASKS_PEOPLE: people,
            "requestedBy": one.spec.requested_by.username, "risk": one.spec.risk, "digest": status.release_digest,
            "servedName": status.served_name,
        }  # fmt: skip

    return _list(cluster, options, ModelRelease, row, RELEASES)


def jobs(cluster: Cluster, options: Namespace) -> int:
    """List jobs: those that wait for people first, then the newest."""
    decisions = OpenDecisions(cluster)

    def row(one: FineTuneJob) -> Json:
        progress, gate, waiver = one.status.progress, one.status.gate, one.status.waiver
        people = waiver is not None and one.status.phase == "PendingWaiver"
        return {
            "phase": one.status.phase, "progress": f"{progress.percent} %" if progress else "-",
            "gate": f"{gate.outcome} ({gate.tuned})" if gate else "-",
            "waitsFor": decisions.waits_for(waiver, one.spec.requested_by, one.namespace) if waiver and people else awaited(one),
            ASKS_PEOPLE: people,
            "requestedBy": one.spec.requested_by.username, "deviceHours": one.status.device_hours or "-",
            "cost": one.status.cost or "-",
        }  # fmt: skip

    return _list(cluster, options, FineTuneJob, row, JOBS)


def servers(cluster: Cluster, options: Namespace) -> int:
    """List servers and what answers under which name."""

    def row(one: ModelServer) -> Json:
        routes = [f"{route.name}: {route.told}" for route in one.status.routes]
        ready = f"{one.status.ready_replicas}/{one.spec.replicas}"
        return {
            "phase": one.status.phase, "base": one.spec.base_model_ref.name, "ready": ready,
            "answers": ", ".join(routes) or "-", "endpoint": one.status.endpoint or "-",
        }  # fmt: skip

    return _list(cluster, options, ModelServer, row, SERVERS)


def _list(
    cluster: Cluster, options: Namespace, model: type[T], row: Callable[[T], Json], columns: Sequence[str]
) -> int:
    namespace = "" if options.all_namespaces else options.namespace or cluster.namespace

    def lines() -> list[Json]:
        now = datetime.now(UTC)
        found = [
            {"namespace": one.namespace, "name": one.name, **row(one), **_times(one, now)}
            for one in sorted(_read(cluster, options, model, namespace), key=_newest, reverse=True)
        ]
        found.sort(key=lambda line: not line.pop(ASKS_PEOPLE, False))
        return found

    wanted = _columns(options, model, columns)
    if options.watch:
        watch.watch(lines, wanted, options.output, reference_of(model, ""))
    _print(options, model, lines(), wanted, namespace)
    return 0


def _columns(options: Namespace, model: type[Resource], columns: Sequence[str]) -> tuple[str, ...]:
    first = ("namespace",) if options.all_namespaces else ()
    more = tuple(column for column in MORE[model] if column not in columns) if options.output == "wide" else ()
    return tuple(sorted((*first, *columns, *more), key="message".__eq__))  # the last one may be cut


def _print(
    options: Namespace, model: type[Resource], lines: Sequence[Json], wanted: Sequence[str], namespace: str
) -> None:
    if options.output in ("json", "yaml"):
        screen.write(lines[0] if options.name else lines, options.output)
    elif options.output == "name":
        print("".join(f"{reference_of(model, line['name'])}\n" for line in lines), end="")
    elif not lines:
        print(f"no {model.KIND.plural} in {f'namespace {namespace}' if namespace else 'the cluster'}")
    else:
        screen.listing(
            screen.console(),
            titles(wanted),
            [cells(line, wanted) for line in lines],
            less_important=titles(LESS_IMPORTANT),
        )


def _read(cluster: Cluster, options: Namespace, model: type[T], namespace: str) -> list[T]:
    """Return the object that was named, or all. Raises ``CommandFailure``."""
    if options.name and options.all_namespaces:
        raise WrongUsage(f"{options.name}: a name is that of one namespace; leave out -A, or the name")
    if options.name:
        return [needed(cluster, model, options.name, namespace)]
    try:
        return cluster.all(model, namespace)
    except Forbidden:
        where = f"namespace {namespace}" if namespace else "the whole cluster"
        hint = "" if options.namespace and namespace else ": name a namespace with -n"
        raise Forbidden(f"you may not list {model.KIND.plural} of {where}{hint}") from None


def _newest(one: Resource) -> Any:
    return (str(one.metadata.get("creationTimestamp", "")), one.name)


def _times(one: Any, now: datetime) -> Json:
    created = str(one.metadata.get("creationTimestamp", ""))
    return {"age": age(created, now), "created": created, "message": one.status.message}
