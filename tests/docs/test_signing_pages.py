"""What docs/review.md, operate.md and audit.md tell people who sign: the commands, and the policy's YAML."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.builders import make_approval, make_approvalpolicy
from tests.support.pages import commands, section
from tests.support.signed_release import KEYS, SignedRelease, write_files, write_keys
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.cli.decide import signing
from tunegate.cli.decide.key_uri import KeyUri
from tunegate.cli.main import main, parser
from tunegate.keys import PublicKey
from tunegate.release.signature import signed_by, unreadable


def run(command: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_key_that_a_reviewer_makes_signs_and_its_public_half_verifies(tmp_path: Path) -> None:
    """The passphrase, which OpenSSL asks at the terminal, comes from a file."""
    make, publish, with_file, with_card = commands("review.md", "Sign with a key of your own")
    (tmp_path / "word").write_text("correct horse\n")
    run(f"{make} -pass file:word", tmp_path)
    run(f"{publish} -passin file:word", tmp_path)
    options = parser().parse_args([*shlex.split(with_file)[1:], "--key-passphrase-file", str(tmp_path / "word")])
    options.key = str(tmp_path / options.key)
    public = PublicKey.from_pem((tmp_path / "ravi.pem").read_bytes())
    assert signed_by(Approval.model_validate(signing.signed(make_approval(), options)), [public])
    (shown,) = commands("operate.md", "Let approvers sign")
    assert run(shown, tmp_path).split()[0] == public.id
    assert KeyUri.parse(parser().parse_args(shlex.split(with_card)[1:]).key).object == "SIGN key"


def test_the_policy_of_the_page_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", section("operate.md", "Let approvers sign"), re.DOTALL)
    policy = make_approvalpolicy(**yaml.safe_load(block)["spec"])
    (role,) = ApprovalPolicy.model_validate(policy).spec.roles
    assert role.signers is not None
    assert unreadable([role]) == ()


def test_an_auditor_verifies_signatures_with_the_command_and_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify, *by_hand = commands("audit.md", "Who decided, without believing the cluster")
    released = SignedRelease()
    noted = released.noted()
    folder, keys = write_files(tmp_path / "FOLDER", released.files()), write_keys(tmp_path / "KEYS")
    values = {
        "FOLDER": str(folder), "KEYS": str(keys), "RELEASE_DIGEST": str(noted.digest), "HEAD": str(noted.head),
    }  # fmt: skip
    assert main([values.get(word, word) for word in shlex.split(verify)[1:]]) == 0
    assert f"key {KEYS['ravi'].public.id}" in capsys.readouterr().out
    first = json.loads((folder / "approvals.jsonl").read_text().splitlines()[0])
    (keys / "NAME.pem").write_text(KEYS[first["spec"]["approver"]["username"]].public.pem)
    assert [run(command, tmp_path) for command in by_hand][-1] == "Verified OK\n"
