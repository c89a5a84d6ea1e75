"""The verifying commands as processes of their own: no network, not even loopback, no home, no environment, files only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_altered_export import Export, authority, export
from tests.support.released_adapter import KEY
from tests.support.signed_release import SignedRelease, write_files, write_keys
from tunegate.cli.audit import files as audit_files
from tunegate.ledger.seal import KeyRing

__all__ = ["authority", "export"]
OPERATOR = Path(__file__).parents[2] / "operator"
PROGRAM = f"import sys; sys.path.insert(0, {str(OPERATOR)!r}); from tunegate.cli.main import main; sys.exit(main())"
ALONE = (["unshare", "--map-root-user", "--net"], ["unshare", "--net"])
"""Ways into a network namespace of its own: of a user, or of root where user namespaces are refused."""
REACH = "import socket; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program where nothing can be reached, with an empty environment in an empty home."""
    home.mkdir(exist_ok=True)
    alone = next(
        one for one in ALONE if subprocess.run([*one, "true"], capture_output=True, check=False).returncode == 0
    )
    return subprocess.run(
        [*alone, "env", "-i", *command], cwd=home, env={}, capture_output=True, text=True, check=False, timeout=120
    )


def tunegate(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(home, sys.executable, "-I", "-c", PROGRAM, *arguments)


def test_nothing_is_reached_from_there(export: Export, tmp_path: Path) -> None:
    """The authority of this test listens, and answers whoever is not shut in."""
    host, _, port = export.authority.url.removeprefix("http://").partition("/")[0].partition(":")
    program = f"import sys; {REACH}"
    outside = subprocess.run([sys.executable, "-I", "-c", program, host, port], capture_output=True, check=False)
    assert outside.returncode == 0
    inside = run(tmp_path / "home", sys.executable, "-I", "-c", program, host, port)
    assert inside.returncode == 1
    assert "unreachable" in inside.stderr


def test_ledger_is_verified_there(export: Export, tmp_path: Path) -> None:
    arguments = [
        "audit", "verify", "--file", str(export.folder / audit_files.RECORDS), "--objects", str(export.objects),
        "--public-key", str(export.key), "--anchors", str(export.anchors), "--tsa-certificate",
        str(export.authority.chain),
    ]  # fmt: skip
    done = tunegate(tmp_path / "home", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ledger intact: 4 records" in done.stdout
    assert "1 checkpoint with a time stamp" in done.stdout
    records = export.folder / audit_files.RECORDS
    records.write_text(records.read_text().replace("erin", "eve", 1))
    done = tunegate(tmp_path / "home", *arguments)
    assert done.returncode == 1
    assert "BROKEN audit-0000000001" in done.stdout


@pytest.fixture(scope="module")
def released() -> SignedRelease:
    made = SignedRelease()
    made.checkpoint(KeyRing(KEY))
    return made


def test_evidence_is_verified_there(released: SignedRelease, tmp_path: Path) -> None:
    folder, noted = write_files(tmp_path / "folder", released.files()), released.noted()
    key = tmp_path / "key.pem"
    key.write_text(KEY.public.pem)
    arguments = [
        "evidence", "verify", str(folder), "--digest", str(noted.digest), "--head", str(noted.head),
        "--public-key", str(key), "--approver-keys", str(write_keys(tmp_path / "keys")),
    ]  # fmt: skip
    done = tunegate(tmp_path / "home", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "signed by ravi" in done.stdout
    card = folder / "model-card.md"
    card.write_text(card.read_text().replace("Intended", "Other"))
    done = tunegate(tmp_path / "home", *arguments)
    assert done.returncode == 1
    assert "DIFFERS model-card.md" in done.stdout
