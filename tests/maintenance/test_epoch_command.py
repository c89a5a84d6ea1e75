"""The command that begins an epoch, as the platform team runs it: it touches no ledger of which nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import OPERATOR
from tests.support.accounts import Accounts
from tests.support.ledgers import new_key_pem

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tunegate.maintenance.epoch"]


def run(*arguments: str, **more: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}/operator", "TUNEGATE_TRAINER_IMAGE": "t",
        "TUNEGATE_OPERATOR_IMAGE": "o", "TUNEGATE_REGISTRY_HOST": "registry.invalid",
        **{name: str(value) for name, value in more.items()},
    }  # fmt: skip
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.cluster
def test_ledger_that_lost_nothing_gets_no_epoch(accounts: Accounts, tmp_path: Path) -> None:
    kubeconfig = accounts.named(OPERATOR, every_right=True)
    keys, anchors = tmp_path / "keys", tmp_path / "anchors"
    keys.mkdir()
    anchors.mkdir()
    (keys / "key.pem").write_bytes(new_key_pem())
    done = run(
        "--by", "ada", "--reason", "a test", TUNEGATE_KUBECONFIG=kubeconfig, TUNEGATE_LEDGER_KEYS=keys,
        TUNEGATE_ANCHOR_FOLDER=anchors,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no epoch was begun:" in done.stderr
    assert "nothing to begin again" in done.stderr or "the ledger is empty" in done.stderr


def test_without_name_reason_or_key_it_does_nothing() -> None:
    assert run("--reason", "a test").returncode == 2
    assert run("--by", "ada").returncode == 2
    done = run("--by", "ada", "--reason", "a test")
    assert (done.returncode, done.stdout) == (1, "")
    assert "TUNEGATE_LEDGER_KEYS is not set" in done.stderr
