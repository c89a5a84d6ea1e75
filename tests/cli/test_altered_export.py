"""Each file that `audit export` and the anchors give is altered, field by field or byte by byte: it is found, or changes nothing.

What is not covered is listed here and in docs/audit.md, and nothing else may go unseen.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.cli.test_offline import DIGEST, approval, release
from tests.support import approvers
from tests.support.alterations import altered
from tests.support.ledgers import Json, Store, new_key
from tests.support.time_authority import Authority, running_authority
from tunegate.api.approval import Approval, ApprovalSpec
from tunegate.cli.audit import files as audit_files
from tunegate.cli.audit import time_stamps
from tunegate.cli.failure import CommandFailure
from tunegate.cli.main import main
from tunegate.ledger.anchors.anchoring import Checkpoints
from tunegate.ledger.anchors.places import FolderAnchor
from tunegate.ledger.anchors.timestamps import TimeAuthority, read_chain
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import recorded

KEY, HERS = new_key(), new_key()
RELEASE = release("release", "r-1")
APPROVAL = approvers.signed(approval("yes", "a-1"), HERS)
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
COVERED: dict[str, list[tuple[str, ...]]] = {
    "Approval": [
        ("kind",), ("spec",), *(("metadata", key) for key in ("name", "namespace", "uid", "creationTimestamp")),
    ],
    "ModelRelease": [
        ("kind",), ("status", "releaseDigest"), *(("metadata", key) for key in ("name", "namespace", "uid")),
    ],
}  # fmt: skip
"""The fields of exported objects that the ledger speaks of, as docs/audit.md lists them."""


@dataclass(frozen=True)
class Export:
    """A folder of `audit export`, anchors with time stamps beside it, and what the auditor got from elsewhere."""

    folder: Path
    anchors: Path
    key: Path
    authority: Authority

    @property
    def objects(self) -> Path:
        return self.folder / audit_files.OBJECTS

    def verify(self) -> int:
        """Run the command with all that an auditor can give."""
        return main([
            "audit", "verify", "--file", str(self.folder / audit_files.RECORDS), "--objects", str(self.objects),
            "--public-key", str(self.key), "--anchors", str(self.anchors), "--anchors",
            str(self.folder / audit_files.CHECKPOINTS), "--tsa-certificate", str(self.authority.chain),
        ])  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with running_authority(tmp_path_factory.mktemp("tsa") / "own") as running:
        yield running


@pytest.fixture
async def export(tmp_path: Path, authority: Authority) -> Export:
    """A release, an approval that its author signed, and its record; then a checkpoint, which an authority stamped."""
    store = Store()
    writer = LedgerWriter(store)
    subject = AuditSubject("ModelRelease", "team", "release", "r-1")
    await writer.append(AuditEntry("ReleaseRequested", "erin", subject, "statement"))
    await writer.append(recorded(subject, [Approval.model_validate(APPROVAL)])[0])
    await writer.append(AuditEntry("ReleaseApproved", "tunegate-operator", subject, "x", {"releaseDigest": DIGEST}))
    anchors, key = tmp_path / "anchors", tmp_path / "key.pem"
    anchors.mkdir()
    key.write_text(KEY.public.pem)
    stamps = TimeAuthority(authority.url, read_chain(authority.chain.read_bytes()))
    await Checkpoints(
        writer, KeyRing(KEY), [FolderAnchor(anchors)], records=1, age=timedelta(days=1), authority=stamps
    ).look()
    report = verify(store.records)
    audit_files.write(tmp_path / "export", store.records, [RELEASE, APPROVAL, NAMESPACE], report.signers)
    return Export(tmp_path / "export", anchors, key, authority)


def test_untouched_export_is_whole(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.verify() == 0
    said = capsys.readouterr().out
    assert "ledger intact: 4 records" in said
    assert "1 checkpoint with a time stamp" in said


def files(export: Export) -> list[Path]:
    return sorted(path for where in (export.folder, export.anchors) for path in where.rglob("*") if path.is_file())


def test_every_file_that_is_cut_off_or_begins_otherwise_is_named(export: Export) -> None:
    """All but the hint, which nobody may verify with."""
    seen = set()
    for path in files(export):
        content = path.read_bytes()
        for other in (content[: len(content) // 2], b"x" + content):
            path.write_bytes(other)
            assert export.verify() == (0 if path.name == audit_files.HINT else 1), path
        path.write_bytes(content)
        seen.add(path.suffix)
    assert seen == {".jsonl", ".json", ".pem", ".tsr"}
    assert export.verify() == 0


def covered(document: Json, kind: str) -> list[object]:
    """Return what the ledger speaks of; of a spec the fields that this version knows."""
    found: list[object] = []
    for path in COVERED[kind]:
        value: object = document
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        found.append(known(value) if path == ("spec",) else value)
    return found


def known(spec: object) -> object:
    try:
        return ApprovalSpec.model_validate(spec).to_dict()
    except ValidationError:
        return None


@pytest.mark.attack(29, 38)
@pytest.mark.parametrize("number", [0, 1], ids=["release", "approval"])
def test_every_covered_field_of_an_exported_object_that_is_altered_is_found(export: Export, number: int) -> None:
    document = json.loads(export.objects.read_text())
    original, tried = document["items"][number], 0
    for path, changed in altered(original):
        if covered(changed, original["kind"]) == covered(original, original["kind"]):
            continue
        made = copy.deepcopy(document)
        made["items"][number] = changed
        export.objects.write_text(json.dumps(made))
        tried += 1
        assert export.verify() == 1, path
    assert tried > 40


@pytest.mark.attack(29, 30)
def test_every_byte_of_a_checkpoint_that_is_altered_is_found(export: Export) -> None:
    (path,) = export.anchors.glob("*.json")
    records = list(audit_files.records(export.folder / audit_files.RECORDS))
    for changed in flipped(path.read_bytes()):
        path.write_bytes(changed)
        try:
            report = verify(records, keys=[KEY.public], anchors=audit_files.anchors([str(export.anchors)]))
        except CommandFailure:
            continue
        assert [one.where for one in report.problems] == [path.name], changed


@pytest.mark.attack(30)
def test_no_altered_byte_makes_a_time_stamp_say_another_time(export: Export) -> None:
    """What an authority does not sign, such as the text of its answer and the copies of certificates, says nothing."""
    (path,) = export.anchors.glob("*.tsr")
    where, certificates = [str(export.anchors)], [str(export.authority.chain)]
    good, _ = time_stamps.check(where, certificates)
    bad = 0
    for changed in flipped(path.read_bytes()):
        path.write_bytes(changed)
        found, problems = time_stamps.check(where, certificates)
        assert problems or found == good
        bad += bool(problems)
    assert bad > 400


def flipped(content: bytes) -> Iterator[bytes]:
    """Yield the content with each of its bytes altered."""
    for at in range(len(content)):
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
