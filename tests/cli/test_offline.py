"""What the command line does without any cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_approval, make_modelrelease
from tests.support.ledgers import Clock, Json, Store, anchor_of, new_key
from tunegate.api.approval import Approval
from tunegate.cli.audit import files
from tunegate.cli.failure import CommandFailure
from tunegate.cli.main import main
from tunegate.cli.times import seconds as seconds_of
from tunegate.ledger import chain
from tunegate.ledger.anchors.places import Checkpoint, FolderAnchor
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import recorded


@pytest.fixture
def export(tmp_path: Path) -> Path:
    previous = None
    objects = []
    for number in range(3):
        entry = AuditEntry("JobFinished", "erin", AuditSubject("FineTuneJob", "team", "job", "u"), str(number))
        previous = chain.next_record(entry, previous, datetime(2026, 11, 24, tzinfo=UTC))
        objects.append(chain.record_object(previous))
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"kind": "List", "items": objects}))
    return path


def test_exported_ledger_is_verified_without_a_cluster(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--file", str(export)]) == 0
    assert "ledger intact: 3 records, head 3:sha256:" in capsys.readouterr().out


@pytest.mark.attack(29, 38)
def test_edit_of_an_export_is_found(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.write_text(export.read_text().replace('"erin"', '"eve"', 1))
    assert main(["audit", "verify", "--file", str(export)]) == 1
    assert "audit-0000000001 (2026-11-24T00:00:00Z): hash does not fit the content" in capsys.readouterr().out


def test_records_one_a_line_are_read_too(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps(one) for one in json.loads(export.read_text())["items"]]
    short = tmp_path / "records.jsonl"
    short.write_text("\n".join(lines[:2]))
    assert main(["audit", "verify", "--file", str(short)]) == 0
    head = "3:" + json.loads(lines[2])["spec"]["hash"]
    assert main(["audit", "verify", "--file", str(short), "--head", head]) == 1
    assert "the tail was cut" in capsys.readouterr().out


def test_pretty_printed_array_is_read_too(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.write_text(json.dumps(json.loads(export.read_text())["items"][::-1], indent=1))
    assert main(["audit", "verify", "--file", str(export)]) == 0
    assert "3 records" in capsys.readouterr().out


DIGEST = "sha256:" + "6" * 64


def approval(name: str, uid: str) -> Json:
    made = {"uid": uid, "creationTimestamp": "2026-11-24T10:00:00Z"}
    obj = make_approval(name, "team", subjectRef={"kind": "ModelRelease", "name": "release", "uid": "r-1"})
    return {**obj, "metadata": {**obj["metadata"], **made}}


def release(name: str, uid: str) -> Json:
    obj = make_modelrelease(name, "team")
    status = {"phase": "Serving", "approvedTime": "2026-11-24T12:03:00Z", "releaseDigest": DIGEST}
    made = {"uid": uid, "creationTimestamp": "2026-11-24T09:00:00Z"}
    return {**obj, "metadata": {**obj["metadata"], **made}, "status": status}


RELEASE, APPROVAL = release("release", "r-1"), approval("yes", "a-1")


@dataclass(frozen=True)
class Taken:
    """An auditor's folder: records, checkpoints that were kept elsewhere, the public key, objects of the cluster."""

    folder: Path
    store: Store

    def verify(self, *more: str, records: Sequence[Any] | None = None) -> int:
        path = self.folder / "records.json"
        path.write_text(json.dumps({"items": self.store.records if records is None else records}))
        key = ("--public-key", str(self.folder / "key.pem"))
        return main(["audit", "verify", "--file", str(path), *key, *more])

    def objects(self, *items: Json) -> tuple[str, str]:
        path = self.folder / "objects.json"
        path.write_text(json.dumps({"kind": "List", "items": items}))
        return "--objects", str(path)


@pytest.fixture
async def taken(tmp_path: Path) -> Taken:
    """A ledger that knows a release, an approval of it and that it was approved; then a checkpoint."""
    key, store = new_key(), Store()
    writer = LedgerWriter(store, Clock())
    subject = AuditSubject("ModelRelease", RELEASE["metadata"]["namespace"], "release", RELEASE["metadata"]["uid"])
    await writer.append(AuditEntry("ReleaseRequested", "erin", subject, "statement"))
    await writer.append(recorded(subject, [Approval.model_validate(APPROVAL)])[0])
    await writer.append(AuditEntry("ReleaseApproved", "tunegate-operator", subject, "x", {"releaseDigest": DIGEST}))
    await writer.seal(KeyRing(key))
    await FolderAnchor(tmp_path).keep(Checkpoint.of(anchor_of(store.records[3]).text))
    (tmp_path / "key.pem").write_text(key.public.pem)
    return Taken(tmp_path, store)


def test_export_is_proven_with_key_and_anchor_alone(taken: Taken, capsys: pytest.CaptureFixture[str]) -> None:
    assert taken.verify("--anchors", str(taken.folder), *taken.objects(RELEASE, APPROVAL)) == 0
    said = capsys.readouterr().out
    assert "ledger intact: 4 records" in said
    assert "Proven up to audit-0000000003, as signed at 2026-11-24T12:04:00Z." in said


def test_without_a_key_it_is_said_that_signatures_were_not_checked(
    taken: Taken, capsys: pytest.CaptureFixture[str]
) -> None:
    taken.verify()
    capsys.readouterr()
    assert main(["audit", "verify", "--file", str(taken.folder / "records.json")]) == 0
    assert "Signatures were not checked: give --public-key, from a source other" in capsys.readouterr().out


def test_cut_tail_is_told_by_the_anchor(taken: Taken, capsys: pytest.CaptureFixture[str]) -> None:
    assert taken.verify("--anchors", str(taken.folder), records=taken.store.records[:3]) == 1
    said = capsys.readouterr().out
    assert "BROKEN checkpoint-0000000003-" in said
    assert ".json: at 2026-11-24T12:04:00Z the ledger held 3 records and this checkpoint" in said
    assert "Nothing in it is proven by the given keys." in said


def test_objects_without_records_and_records_without_objects_are_told(
    taken: Taken, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {**APPROVAL, "spec": {**APPROVAL["spec"], "reason": "another reason"}}
    stranger = approval("late", "a-2")
    assert taken.verify(*taken.objects(changed, stranger, release("other", "r-2"))) == 1
    said = capsys.readouterr().out
    assert "audit-0000000002 (2026-11-24T12:02:00Z): Approval team/yes was changed" in said
    assert "audit-0000000003 (2026-11-24T12:03:00Z): approved ModelRelease team/release is gone" in said
    assert "Approval team/late (2026-11-24T10:00:00Z): is in no record" in said
    assert "ModelRelease team/other (2026-11-24T12:03:00Z): counts as approved, but no record says so" in said
    assert taken.verify(*taken.objects(RELEASE)) == 1
    assert "Approval team/yes is gone" in capsys.readouterr().out


def test_namespace_that_was_gone_at_the_export_is_said_and_one_that_was_emptied_is_counted(
    taken: Taken, capsys: pytest.CaptureFixture[str]
) -> None:
    assert taken.verify(*taken.objects({"kind": "Namespace", "metadata": {"name": "other"}})) == 0
    assert "note: namespace team did not exist any more" in capsys.readouterr().out
    assert taken.verify(*taken.objects({"kind": "Namespace", "metadata": {"name": "team"}})) == 1
    assert "Approval team/yes is gone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--public-key", "records.json"], "--public-key"),
        (["--anchors", "nowhere"], "--anchors nowhere: "),
        (["--anchors", "empty"], "--anchors empty: holds no file checkpoint-"),
        (["--head", "7"], "--head"),
        (["--objects", "key.pem"], "not a List of objects"),
        (["--public-key", "pipe"], "--public-key pipe: pipe: not a regular file"),
        (["--tsa-certificate", "pipe"], "--tsa-certificate pipe: pipe: not a regular file"),
        (["--objects", "pipe"], "pipe: not a List of objects"),
    ],
)
def test_option_that_cannot_be_used_is_named(
    options: list[str], says: str, taken: Taken, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(taken.folder)
    Path("empty").mkdir()
    os.mkfifo("pipe")
    assert taken.verify(*options) == 1
    assert says in capsys.readouterr().err


def test_folder_of_an_export_is_never_written_over(taken: Taken) -> None:
    target = taken.folder / "export"
    assert files.write(target, taken.store.records, [RELEASE, APPROVAL], []) == 4
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == [
        Checkpoint.of(anchor_of(taken.store.records[3]).text).name, "objects.json", "public-key-hint.pem", "records.jsonl",
    ]  # fmt: skip
    key = ("--public-key", str(taken.folder / "key.pem"))
    exported = ["--file", str(target / "records.jsonl"), "--objects", str(target / "objects.json")]
    assert main(["audit", "verify", *exported, *key, "--anchors", str(target / "checkpoints")]) == 0
    with pytest.raises(CommandFailure, match="is there already"):
        files.write(target, [], [], [])


def test_missing_kubeconfig_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kubeconfig", str(tmp_path / "none"), "get", "jobs"]) == 1
    assert "no usable kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("90m", 5400), ("24h", 86_400), ("7d", 604_800)])
def test_lifetimes(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "0d", "d", "1w", "-1d"])
def test_lifetime_in_other_words_is_refused(text: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["approve", "x", "--reason", "y", "--expires", text])
