"""`evidence export` and `evidence verify`: one release taken along as a folder, and checked without cluster and network."""

from __future__ import annotations

import os
import re
import stat
import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from pydantic import ValidationError

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecord, EventType
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.numbers import count_of
from tunegate.cli import oci_registry, results
from tunegate.cli.audit import approver_keys
from tunegate.cli.audit.files import public_keys
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.cli.reference import needed
from tunegate.cli.screen import shown
from tunegate.digests import sha256
from tunegate.errors import wrong_fields
from tunegate.evidence import decisions, folder, layout, signatures, sources
from tunegate.evidence.folder import Noted
from tunegate.evidence.index import Index
from tunegate.evidence.signatures import Checked
from tunegate.evidence.story import Difference, Story
from tunegate.ledger import chain
from tunegate.registry.client import RegistryClient
from tunegate.release.statement import ReleaseStatement

FITS, DIFFERS, UNREADABLE = 0, 1, 2
"""Exit statuses of `verify`."""
NOT_SHOWN = (
    "that each approver held the right to approve: the API server proved it at that moment, see its own audit log",
    "records after the head that you noted are chained to it, but somebody who owns the folder could have made them",
    "that the adapter elsewhere has these bytes: pull it and compare with manifest.json",
)


def export(cluster: Cluster, options: Namespace) -> int:
    """Write the evidence of a release into a new folder. Status 1 when what cluster and registry hold does not fit."""
    target = Path(options.folder)
    release = needed(cluster, ModelRelease, options.release.name, options.namespace or cluster.namespace)
    try:
        if target.exists() and any(target.iterdir()):
            raise CommandFailure(f"{target}: not empty; name a folder that is new or empty")
        with oci_registry.opened(options) as client:
            found = _collect(cluster, client, release)
        files, differences = folder.complete(found)
        for path, content in files.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)
    except OSError as error:
        raise CommandFailure(f"{target}: {error}") from error
    print(f"evidence of {release.namespace}/{release.name}: {count_of(len(files), 'file')} in {target}")
    if differences:
        _print(differences, target)
        print("What is made of the sources, and the index, are left out.")
        return DIFFERS
    index = Index.model_validate_json(files[layout.INDEX])
    print("Write this down elsewhere; against it, every change of the folder shows:")
    print(
        f"  tunegate evidence verify {target} --digest {index.release.digest} --head {index.ledger_head} "
        f"--index {sha256(files[layout.INDEX])}"
    )
    print("evaluation.json quotes questions of the gate: hand the folder only to people who may see them.")
    return FITS


def verify(options: Namespace) -> int:
    """Check a folder, and say in plain words what does not fit. Statuses: 0 fits, 1 differs, 2 cannot be read."""
    where = Path(options.folder)
    try:
        keys = tuple(public_keys(options.public_key or ()))
        files, strange = _read(where)
    except (CommandFailure, OSError) as error:
        named = "" if isinstance(error, CommandFailure) else f"{where} cannot be read: "
        print(f"tunegate: {named}{error}", file=sys.stderr)
        return UNREADABLE
    try:
        approvers = None if options.approver_keys is None else approver_keys.read(Path(options.approver_keys))
    except (OSError, ValueError) as error:
        print(f"tunegate: --approver-keys cannot be read: {error}", file=sys.stderr)
        return UNREADABLE
    noted = Noted(options.digest, options.head, options.index, keys)
    report = folder.verify(files, noted)
    story, unsigned = report.story, list[Difference]()
    checked: tuple[Checked, ...] | None = None
    if story is not None and approvers is not None:
        checked, unsigned = signatures.check(story, approvers)
    differences = (*strange, *report.differences, *unsigned)
    if differences or story is None:
        _print(differences, where)
        return DIFFERS
    _summary(story, files, noted, checked)
    return FITS


def digest(text: str) -> str:
    """Read a digest that somebody noted. Raises ``ArgumentTypeError``."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ArgumentTypeError(f"{text!r}: expected sha256:<64 hex digits>")
    return text


def head(text: str) -> chain.Head:
    """Read a ledger head that somebody noted. Raises ``ArgumentTypeError``."""
    try:
        return chain.Head.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _collect(cluster: Cluster, client: RegistryClient, release: ModelRelease) -> dict[str, bytes]:
    """Read the sources. Approvals are read before the ledger, so that a decision that is there can be recorded there."""
    approvals = cluster.all(Approval, release.namespace)
    try:
        records = cluster.all_raw(AuditRecord)
    except Forbidden:
        raise Forbidden(
            "the ledger (auditrecords) is part of the evidence, and you may not read it: auditors may"
        ) from None
    request, signed = (_payload(records, release, one) for one in ("ReleaseRequested", "EvidenceSealed"))
    content = results.pull_statement(client, release, request["repository"] if request is not None else None)
    try:
        statement = ReleaseStatement.model_validate_json(content)
    except ValidationError as error:
        raise CommandFailure(f"the release statement cannot be read: {wrong_fields(error)}") from None
    uids = (release.uid, statement.job.uid)
    return {
        layout.STATEMENT: content,
        layout.APPROVALS: decisions.approval_lines([one for one in approvals if one.spec.subject_ref.uid in uids]),
        layout.LEDGER: decisions.ledger_lines(records),
        **sources.pull(client, statement, cluster.all(FineTuneJob, release.namespace)),
        **(sources.pull_signatures(client, statement, signed) if signed is not None else {}),
    }


def _payload(records: list[Json], release: ModelRelease, type_: EventType) -> Json | None:
    """Return what the ledger's record of that type says of the release."""
    found = (one["spec"] for one in records if one["spec"]["type"] == type_)
    return next((dict(one["payload"]) for one in found if one["subject"]["uid"] == release.uid), None)


def _read(where: Path) -> tuple[dict[str, bytes], list[Difference]]:
    """Return all files, and what is no file. Raises ``OSError``."""

    def fail(error: OSError) -> None:
        raise error

    files: dict[str, bytes] = {}
    strange = []
    for at, folders, names in os.walk(where, onerror=fail):
        for name in sorted([*folders, *names]):
            path = Path(at, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                files[shown(path.relative_to(where).as_posix())] = path.read_bytes()
            elif not stat.S_ISDIR(mode):
                strange.append(Difference(shown(path.relative_to(where).as_posix()), "is no regular file"))
    return files, strange


def _print(differences: tuple[Difference, ...], where: Path) -> None:
    for one in differences:
        print(shown(f"DIFFERS {one}"))
    print(f"{count_of(len(differences), 'difference')} in {where}")


def _summary(story: Story, files: dict[str, bytes], noted: Noted, checked: tuple[Checked, ...] | None) -> None:
    statement, gate = story.statement, story.statement.evaluation
    release, base, data = statement.release, statement.base_model, statement.data
    lines = [
        f"evidence of {release.namespace}/{release.name} fits: {count_of(len(files), 'file')}, {count_of(len(story.records), 'ledger record')}",
        f"  release digest  {story.digest}",
        f"  adapter         {statement.adapter.digest}, {count_of(len(story.files), 'file')}",
        f"  base model      {base.name} {base.manifest_digest}",
        f"  data            {data.digest}, {count_of(data.rows, 'row')}, {data.classification}, {data.license}",
        f"  gate            {gate.outcome}, {gate.metric} {gate.tuned} on suite {gate.suite}",
    ]
    for record in story.own_records:
        what = record.payload.get("decision", record.type)
        by = record.payload.get("approvers", record.actor)
        lines.append(f"  {what:15} {record.time} by {by}, {chain.record_name(record.sequence)}")
    for one in checked or ():
        spec = one.approval.spec
        by = (
            f"signed by {spec.approver.username}, key {one.key.id}"
            if one.key
            else "not signed with a key that you gave"
        )
        lines.append(f"  signature       {one.approval.name}, {spec.decision}: {by}")
    if noted.keys and story.signed:
        lines.append(
            f"  signed          {', '.join(story.signed)}: by the operator, as the ledger is, see --public-key"
        )
    lines += [f"  ledger head     {story.head}", f"  index           {sha256(files[layout.INDEX])}"]
    if noted.digest is None:
        lines.append("Not compared: without --digest, a folder that was made up whole fits as well.")
    if noted.head is None:
        lines.append("Not compared: without --head, a ledger that was cut off or chained again fits as well.")
    if checked is None:
        lines.append("Not compared: without --approver-keys, who decided is what the API server said at that moment.")
    if not story.signed:
        lines.append("Not signed: the ledger names no signatures of the operator.")
    elif not noted.keys:
        lines.append("Signatures were not checked: give --public-key, from a source other than the folder.")
    lines += ["Not shown by this folder:", *(f"  - {text}" for text in NOT_SHOWN)]
    for line in lines:
        print(shown(line))
