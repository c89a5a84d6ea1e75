"""Two authorities: making one anew takes back what it signed, and nothing that the other one did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MAKE = """
from tunegate_local import certificates
certificates.ensure_authorities()
certificates.ensure_leaf("user", "erin")
certificates.ensure_issuer()
"""


def make(state: Path) -> dict[str, bytes]:
    """Make what is missing; return all certificates by name."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "local-cluster"), "TUNEGATE_STATE": str(state)}
    subprocess.run([sys.executable, "-c", MAKE], env=env, check=True, capture_output=True, timeout=60)
    return {file.stem: file.read_bytes() for file in (state / "pki").glob("*.crt")}


@pytest.mark.parametrize(
    ("lost", "renewed"), [("issuer-ca", {"issuer-ca", "issuer"}), ("ca", {"ca", "user", "issuer-ca", "issuer"})]
)
def test_a_lost_authority_renews_what_rests_on_it(tmp_path: Path, lost: str, renewed: set[str]) -> None:
    before = make(tmp_path)
    assert set(before) == {"ca", "user", "issuer-ca", "issuer"}
    assert make(tmp_path) == before
    (tmp_path / "pki" / f"{lost}.crt").unlink()
    after = make(tmp_path)
    assert {name for name in before if after[name] != before[name]} == renewed


def test_the_issuer_is_trusted_by_its_own_authority_only(tmp_path: Path) -> None:
    make(tmp_path)
    shown = {
        authority: subprocess.run(
            ["openssl", "verify", "-CAfile", tmp_path / "pki" / f"{authority}.crt", tmp_path / "pki" / "issuer.crt"],
            capture_output=True,
            check=False,
        ).returncode
        for authority in ("issuer-ca", "ca")
    }
    assert shown["issuer-ca"] == 0
    assert shown["ca"] != 0
