"""`who`: what data, base model, evaluation, people and bytes are behind a name that clients know, now or at a time."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecord
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.routes import RouteStatus, TargetStatus
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.cli import at_time, screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.describe import release_view
from tunegate.cli.describe.words import spelled, text_of
from tunegate.cli.failure import CommandFailure
from tunegate.ledger.sequence import ordered
from tunegate.ledger.verify import verify

PARTS = ("release", "data", "waiver", "baseModel", "adapter", "evaluation")
PEOPLE = ("by", "decision", "role", "time", "counted", "reason")
"""Whether an approval counts is said as of now: one that has expired since counted when the release was approved."""
NOT_SERVED = "not served"
LEFT_OUT = frozenset({"conditions", "alternatives", "guardrails", "message"})


def who(cluster: Cluster, options: Namespace) -> int:
    """Print what is behind a route, a served name or a model name. Status 1 for a name that is not known."""
    namespace = options.namespace or cluster.namespace
    if options.name == BASE_SERVED_NAME:
        raise CommandFailure(f"{BASE_SERVED_NAME} is the untuned base model of each server: see tunegate get servers")
    if options.at is not None:
        found, problems = _then(cluster, options.name, namespace, options.at)
    else:
        found, problems = _now(cluster, options.name, namespace), 0
    if options.output == "text":
        _print(found)
    else:
        screen.write(found, options.output)
    if problems:
        raise CommandFailure(
            f"the ledger is broken ({problems} problems, see tunegate audit verify): do not rely on this"
        )
    return 0


def _now(cluster: Cluster, name: str, namespace: str) -> list[Json]:
    servers = cluster.all(ModelServer, namespace)
    releases = cluster.all(ModelRelease, namespace)
    by_name = {one.status.served_name: one for one in releases if one.status.served_name}
    found: list[Json] = []
    for server in servers:
        for route, target in _targets(server):
            served = target.served_name if target is not None else None
            release = by_name.get(served or "")
            if name in (route.name, served, release.name if release else ""):
                share = f"{target.weight} %" if target is not None and len(route.targets) > 1 else None
                answers = {
                    "answers": f"{namespace}/{server.name}", "route": route.name, "state": route.state,
                    "servedName": served, "share": share, "why": route.reason or None,
                }  # fmt: skip
                if route.state != "Open":
                    answers |= _revoked(cluster, releases, route.name)
                elif release:
                    answers |= _behind(cluster, release)
                found.append(answers)
    if found:
        return found
    known = [one for one in releases if name in (one.status.served_name, one.name)]
    if not known:
        raise CommandFailure(_nobody(servers, name, namespace))
    return [
        {
            "answers": None,
            "route": None,
            "state": NOT_SERVED,
            **_revoked(cluster, [one], one.spec.model_name),
            **_behind(cluster, one),
        }
        for one in known
    ]


def _targets(server: ModelServer) -> list[tuple[RouteStatus, TargetStatus | None]]:
    """Return every route with each of its targets; one without targets is there once."""
    return [(route, target) for route in server.status.routes for target in (*route.targets,) or (None,)]


def _revoked(cluster: Cluster, releases: Sequence[ModelRelease], model: str) -> Json:
    """Return which release of a model name was revoked last, by whom, when and why; nothing where none was."""
    gone = {one.uid: one.name for one in releases if one.spec.model_name == model and one.status.phase == "Revoked"}
    if not gone:
        return {}
    approvals: list[Approval] | None = readable(cluster.all, Approval, releases[0].namespace)
    if approvals is None:
        return {"revoked": {"release": ", ".join(sorted(gone.values())), "by": "you may not read the decisions"}}
    revoke = last_revocation(approvals, gone)
    if revoke is None:
        return {"revoked": {"release": ", ".join(sorted(gone.values())), "by": "the decision is gone: see the ledger"}}
    return {
        "revoked": {
            "release": gone[revoke.spec.subject_ref.uid], "by": revoke.spec.approver.username,
            "time": str(revoke.metadata["creationTimestamp"]), "reason": revoke.spec.reason,
        }
    }  # fmt: skip


def last_revocation(approvals: Iterable[Approval], revoked: Collection[str]) -> Approval | None:
    """Return the decision that revoked the last of these releases, by uid: the first Revoke of each, as the operator counts."""
    ordered_by_time = sorted(approvals, key=lambda one: (str(one.metadata["creationTimestamp"]), one.name))
    first: dict[str, Approval] = {}
    for one in ordered_by_time:
        if one.spec.decision == "Revoke" and one.spec.subject_ref.uid in revoked:
            first.setdefault(one.spec.subject_ref.uid, one)
    return list(first.values())[-1] if first else None


def _nobody(servers: Sequence[ModelServer], name: str, namespace: str) -> str:
    names = sorted({route.name for server in servers for route in server.status.routes})
    return f"nothing is known as {name} in namespace {namespace}; its routes are {', '.join(names) or '(none)'}"


def _behind(cluster: Cluster, release: ModelRelease) -> Json:
    """Return what a release rests on: the parts of its dossier that answer the question, and the people."""
    document = release_view.collect(cluster, release)
    parts: Json = {part: {key: value for key, value in document[part].items() if key not in LEFT_OUT} for part in PARTS}
    records = document["ledger"] if isinstance(document["ledger"], list) else []
    opened = [one["time"] for one in records if one["type"] == "RouteOpened"]
    people = [
        {key: one[key] for key in PEOPLE} for one in document["approvals"] if one["decision"] in ("Approve", "Override")
    ]
    return {**parts, "approvals": people, "since": opened[-1] if opened else None}


def _then(cluster: Cluster, name: str, namespace: str, at: datetime) -> tuple[list[Json], int]:
    """Return what answered at a time by the ledger, and how many problems the ledger has."""
    records: list[Json] = []
    report = verify(ordered(cluster.all_raw(AuditRecord)), note=lambda spec: records.append(dict(spec)))
    found = [one for one in at_time.answers(records, name, at) if one.namespace == namespace]
    if not found and not report.problems:
        raise CommandFailure(f"by the ledger nothing answered as {name} in namespace {namespace} at {at.isoformat()}")
    return [
        {
            "answers": f"{one.namespace}/{one.server}", "route": one.route, "state": "Open", "at": at.isoformat(),
            "servedName": one.served_name, "share": f"{one.weight} %", "since": one.since, "record": one.record,
            "release": {"name": f"{one.namespace}/{one.release}", "uid": one.uid},
            "evidence": at_time.evidence(records, one.uid, at),
        }
        for one in found
    ], len(report.problems)  # fmt: skip


def _print(found: Sequence[Json]) -> None:
    out = screen.console()
    for document in found:
        plain = {key: value for key, value in document.items() if key != "state" and not isinstance(value, dict | list)}
        screen.heading(out, document["route"] or document["release"]["name"], document["state"])
        known = [(spelled(key), text_of(value)) for key, value in plain.items() if value is not None]
        screen.facts(out, known)
        for title, part in document.items():
            if isinstance(part, dict):
                screen.heading(out, f"  {title}")
                screen.facts(out, [(spelled(key), text_of(value)) for key, value in part.items()], indent=4)
            elif isinstance(part, list):
                screen.heading(out, f"  {title}", "" if part else "none that you may read")
                rows = [[text_of(one) for one in line.values()] for line in part]
                screen.table(out, PEOPLE, rows, indent=4)
