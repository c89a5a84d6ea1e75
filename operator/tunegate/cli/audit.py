"""`audit verify`: is the ledger whole, and do the records that it speaks of still exist?"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import CommandFailure
from tunegate.ledger import chain
from tunegate.release.content import approval_digest


def verify(cluster: Cluster | None, options: Namespace) -> int:
    """Verify the cluster's ledger, or with ``--file`` an exported one without any cluster. Status 1 when it is broken."""
    try:
        anchor = chain.Head.parse(options.anchor) if options.anchor else None
    except ValueError as error:
        raise CommandFailure(f"--anchor {error}") from error
    if options.file is not None:
        objects = read(Path(options.file))
        problems = chain.verify(objects, anchor)
        records, _ = chain.parse(objects)
    else:
        if cluster is None:
            raise CommandFailure("no cluster")
        objects = cluster.all_raw(AuditRecord)
        problems = chain.verify(objects, anchor)
        records, _ = chain.parse(objects)
        problems += against_objects(cluster, records)
    head = chain.head(records)
    for problem in problems:
        print(f"BROKEN {problem}")
    if problems:
        print(f"{len(problems)} problems in {len(records)} records")
        return 1
    print(f"ledger intact: {len(records)} records, head {head or '(empty)'}")
    print("Keep the head elsewhere: `tunegate audit verify --anchor <head>` finds a cut-off tail later.")
    return 0


def read(path: Path) -> list[dict[str, Any]]:
    """Read exported records: a Kubernetes List, a JSON array, or one JSON object a line. Raises ``CommandFailure``."""
    try:
        text = path.read_text()
        try:
            document = json.loads(text)
        except ValueError:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise CommandFailure(f"{path}: not an export of audit records: {error}") from error
    items = document.get("items", [document]) if isinstance(document, dict) else document
    return [item for item in items if isinstance(item, dict)]


def against_objects(cluster: Cluster, records: list[AuditRecordSpec]) -> list[chain.Problem]:
    """Return what the ledger holds and the cluster does not: approvals gone or changed, approved releases gone."""
    problems: list[chain.Problem] = []
    gone: set[str] = set()
    approvals: dict[str, dict[str, str] | None] = {}
    releases: dict[str, set[str] | None] = {}
    for record in records:
        namespace, where = record.subject.namespace, chain.record_name(record.sequence)
        if record.type not in ("ApprovalRecorded", "ReleaseApproved"):
            continue
        if namespace not in approvals:
            found = readable(cluster.all, Approval, namespace)
            listed = readable(cluster.all, ModelRelease, namespace)
            approvals[namespace] = None if found is None else {one.uid: approval_digest(one) for one in found}
            releases[namespace] = None if listed is None else {one.uid for one in listed}
            if not found and not listed and readable(cluster.namespace_exists, namespace) is False:
                gone.add(namespace)
        if namespace in gone:
            continue
        live, uids = approvals[namespace], releases[namespace]
        if record.type == "ApprovalRecorded":
            if live is not None and live.get(record.payload["approval"]) != record.payload["content"]:
                state = "was changed" if record.payload["approval"] in live else "is gone"
                problems.append(chain.Problem(where, f"Approval {namespace}/{record.payload['name']} {state}"))
        elif uids is not None and record.subject.uid not in uids:
            problems.append(chain.Problem(where, f"approved ModelRelease {namespace}/{record.subject.name} is gone"))
    for namespace in sorted(gone):
        print(f"note: namespace {namespace} does not exist any more: its approvals are not compared")
    return problems
