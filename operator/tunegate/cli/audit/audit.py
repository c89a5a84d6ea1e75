"""`audit verify`: is the ledger whole, and do the records that it speaks of still exist? `audit export`: take it along.

`audit powers`: who could get around the rules (see ``powers``).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecord
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.numbers import count_of
from tunegate.cli.audit import files, time_stamps
from tunegate.cli.audit import powers as held_powers
from tunegate.cli.audit.objects import Remembered, without_objects, without_records
from tunegate.cli.audit.time_stamps import Stamped
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.keys import PublicKey
from tunegate.ledger import verify as ledger
from tunegate.ledger.chain import Head, Problem, record_name
from tunegate.ledger.sequence import ordered


def verify(options: Namespace) -> int:
    """Verify the cluster's ledger, or with ``--file`` an exported one without any cluster. Status 1 when it is broken."""
    if options.objects and options.file is None:
        raise WrongUsage("--objects belongs to --file: a cluster is asked for its objects itself")
    keys = files.public_keys(options.public_key or ())
    seen = Remembered()
    if options.file is None:
        cluster = Cluster.of(options)
        report = _check(ordered(cluster.all_raw(AuditRecord)), seen, keys, options)
        problems = _live_objects(cluster, seen)
    else:
        report = _check(files.records(Path(options.file)), seen, keys, options)
        problems = _exported_objects(seen, Path(options.objects)) if options.objects else []
    stamped, unstamped = time_stamps.check(options.anchors or (), options.tsa_certificate or ())
    return _tell(report, [*report.problems, *problems, *unstamped], keys, stamped)


def powers(options: Namespace) -> int:
    """Tell who could get around the rules, by the cluster's ledger or by an exported one."""
    records = (
        ordered(Cluster.of(options).all_raw(AuditRecord)) if options.file is None else files.records(Path(options.file))
    )
    return held_powers.powers(records, options.at or datetime.now(UTC))


def _check(
    records: Iterable[Mapping[str, Any]], seen: Remembered, keys: list[PublicKey], options: Namespace
) -> ledger.Report:
    try:
        noted = Head.parse(options.head) if options.head else None
    except ValueError as error:
        raise CommandFailure(f"--head {error}") from error
    anchors = files.anchors(options.anchors or ())
    return ledger.verify(records, keys=keys, anchors=anchors, noted=noted, note=seen.note)


def _tell(report: ledger.Report, problems: list[Problem], keys: list[PublicKey], stamped: Sequence[Stamped]) -> int:
    for problem in problems:
        print(f"BROKEN {problem}")
    for later, count in sorted(report.later.items()):
        print(
            f"{count_of(count, 'record')} of a newer version ({later}): chained and compared like all others, not understood here."
        )
    for epoch in report.epochs:
        print(f"LOST {epoch}")
    verdict = f"{count_of(len(problems), 'problem')} in {count_of(report.records, 'record')}" if problems else (
        f"ledger intact: {count_of(report.records, 'record')}, head {report.head or '(empty)'}"
    )  # fmt: skip
    print(verdict)
    if report.proven is not None:
        proven = f"{record_name(report.proven.sequence)}, as signed at {report.proven.time}"
        print(f"Proven up to {proven}." + (" What is wrong came after it." if problems else ""))
        if report.unsigned and not problems:
            print(
                f"{report.unsigned} later records are chained, not signed yet: an anchor or the next export covers them."
            )
    elif keys:
        print("Nothing in it is proven by the given keys.")
    else:
        named = f" The records name key {', '.join(key.id for key in report.signers)}." if report.signers else ""
        print(f"Signatures were not checked: give --public-key, from a source other than the records.{named}")
    if stamped:
        print(
            f"{count_of(len(stamped), 'checkpoint')} with a time stamp, the last: {max(stamped, key=lambda one: (one.time, one.size))}."
        )
    if problems:
        return 1
    print("Keep the head elsewhere: `tunegate audit verify --head <head>` finds a cut-off tail later.")
    return 0


def export(cluster: Cluster, options: Namespace) -> int:
    """Write records, checkpoints, decisions and releases as files, and which keys the records name."""
    folder = Path(options.folder)
    records = ordered(cluster.all_raw(AuditRecord))
    seen = Remembered()
    report = ledger.verify(records, note=seen.note)
    others = [*cluster.all_raw(Approval), *cluster.all_raw(ModelRelease), *_namespaces(cluster, seen)]
    count = files.write(folder, records, others, report.signers)
    print(f"{count_of(count, 'record')}, {count_of(len(others), 'object')}: {folder}")
    for problem in report.problems:
        print(f"BROKEN {problem}")
    print(f"Check them with a key from elsewhere: tunegate audit verify --file {folder / files.RECORDS} "
          f"--objects {folder / files.OBJECTS} --public-key KEY.pem")  # fmt: skip
    return 1 if report.problems else 0


def _namespaces(cluster: Cluster, seen: Remembered) -> list[dict[str, Any]]:
    """Return the namespaces that the records speak of and that exist, or that this person may not look at."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted(seen.namespaces - {""})
        if readable(cluster.namespace_exists, name) is not False
    ]


def _exported_objects(seen: Remembered, path: Path) -> list[Problem]:
    """Compare with an export. Where it lists namespaces, others did not exist when it was made: said, not counted."""
    approvals, releases, existing = files.objects(path, Approval, ModelRelease)
    known = existing if existing is not None else seen.namespaces
    for namespace in sorted(seen.bound() - known):
        print(f"note: namespace {namespace} did not exist any more: its approvals are not compared")
    return [
        *without_objects(seen, approvals, releases, known),
        *without_records(seen, approvals, releases),
    ]


def _live_objects(cluster: Cluster, seen: Remembered) -> list[Problem]:
    """Compare with the cluster, as far as the person may look. A namespace that is gone is said, not counted."""
    approvals: list[Approval] = []
    releases: list[ModelRelease] = []
    known: list[str] = []
    for namespace in sorted(seen.namespaces - {""}):
        found = readable(cluster.all, Approval, namespace)
        listed = readable(cluster.all, ModelRelease, namespace)
        if found is None or listed is None:
            print(f"note: you may not read approvals and releases of namespace {namespace}: they are not compared")
        elif not found and not listed and readable(cluster.namespace_exists, namespace) is False:
            if namespace in seen.bound():
                print(f"note: namespace {namespace} does not exist any more: its approvals are not compared")
        else:
            approvals, releases, known = [*approvals, *found], [*releases, *listed], [*known, namespace]
    return [
        *without_objects(seen, approvals, releases, known),
        *without_records(seen, approvals, releases),
    ]
