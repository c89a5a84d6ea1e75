"""Evidence folders and exported ledgers, as auditors verify them, and keys, anchors and objects beside them."""

from __future__ import annotations

import asyncio
import contextlib
import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cli.test_offline import DIGEST, approval, release
from tests.mutated_files.kinds import Files, Kind, Wrong
from tests.mutated_files.of_models import contents
from tests.support.ledgers import Store
from tests.support.released_adapter import KEY
from tests.support.signed_release import SignedRelease, write_keys
from tunegate.api.approval import Approval
from tunegate.cli.audit import files as audit_files
from tunegate.cli.main import main
from tunegate.digests import sha256
from tunegate.ledger.anchors.places import Checkpoint
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import recorded

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}


def ended(*arguments: str | Path, statuses: tuple[int, ...] = (0, 1, 2)) -> tuple[int, str]:
    """Run `tunegate` in this process; return its status and what it printed. Raises ``Wrong`` for a status of another kind."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main(list(map(str, arguments)))
    except SystemExit as end:  # wrong usage, as argparse ends it
        status = end.code if isinstance(end.code, int) else 99
    text = printed.getvalue()
    if status not in statuses or not text.strip():
        raise Wrong(f"status {status}, printed {text[:200]!r}")
    text.encode()
    return status, text


@cache
def _released() -> tuple[Files, str]:
    """Return an evidence folder with keys beside it, and the digest of its index."""
    signed = SignedRelease()
    signed.checkpoint(KeyRing(KEY))
    files = signed.files()
    with TemporaryDirectory() as place:
        keys = contents(write_keys(Path(place, "keys")))
    beside = {**{f"keys/{name}": content for name, content in keys.items()}, "key.pem": KEY.public.pem.encode()}
    return {**{f"folder/{name}": content for name, content in files.items()}, **beside}, sha256(files["index.json"])


def read_evidence(folder: Path) -> str | None:
    """Verify a folder with all that an auditor noted: whatever was changed in it, it does not fit."""
    files, index = _released()
    status, text = ended(
        "evidence", "verify", folder / "folder", "--index", index, "--public-key", folder / "key.pem", "--approver-keys",
        folder / "keys",
    )  # fmt: skip
    same = all((folder / name).is_file() and (folder / name).read_bytes() == content for name, content in files.items())
    if status == 0 and not same and any(not name.endswith(".pem") for name in _differing(folder, files)):
        raise Wrong(f"a changed folder fits: {_differing(folder, files)}")
    return None if status == 0 else text


def _differing(folder: Path, files: Files) -> list[str]:
    return [
        name
        for name, content in files.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]


@cache
def _ledger() -> Files:
    store = Store()
    writer = LedgerWriter(store)
    subject = AuditSubject("ModelRelease", "team", "release", "r-1")

    async def write() -> None:
        await writer.append(AuditEntry("ReleaseRequested", "erin", subject, "statement"))
        await writer.append(recorded(subject, [Approval.model_validate(approval("yes", "a-1"))])[0])
        await writer.append(AuditEntry("ReleaseApproved", "tunegate-operator", subject, "x", {"releaseDigest": DIGEST}))
        await writer.seal(KeyRing(KEY))

    asyncio.run(write())
    with TemporaryDirectory() as place:
        folder = Path(place)
        objects = [release("release", "r-1"), approval("yes", "a-1"), NAMESPACE]
        audit_files.write(folder / "export", store.records, objects, verify(store.records).signers)
        (folder / "anchors").mkdir()
        envelope = str(store.records[-1]["spec"]["payload"]["envelope"])
        (folder / "anchors" / Checkpoint.of(envelope).name).write_text(envelope)
        (folder / "key.pem").write_text(KEY.public.pem)
        return {name: content for name, content in contents(folder).items() if not name.endswith(audit_files.HINT)}


def read_ledger(folder: Path) -> str | None:
    """Verify an export with key and anchors, and ask it who could get around the rules."""
    records = folder / "export" / audit_files.RECORDS
    status, text = ended(
        "audit", "verify", "--file", records, "--objects", folder / "export" / audit_files.OBJECTS, "--public-key",
        folder / "key.pem", "--anchors", folder / "anchors", "--anchors", folder / "export" / audit_files.CHECKPOINTS,
    )  # fmt: skip
    ended("audit", "powers", "--file", records)
    return None if status == 0 else text


KINDS = [
    Kind(
        "evidence folder", lambda: _released()[0], read_evidence, r"DIFFERS|cannot be read|--public-key|--approver-keys"
    ),
    Kind("ledger export", _ledger, read_ledger, r"BROKEN|line \d+|records|objects|--anchors|--public-key"),
]
