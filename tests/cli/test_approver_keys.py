"""`tunegate evidence verify --approver-keys`: who decided, proven by keys that the auditor holds and nobody in the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import forgery
from tests.support.ledgers import new_key
from tests.support.released_adapter import Released
from tests.support.signed_release import KEYS, SignedRelease, write_files, write_keys
from tunegate.cli.main import main
from tunegate.digests import canonical
from tunegate.evidence import layout


@pytest.fixture(scope="module")
def released() -> SignedRelease:
    return SignedRelease()


@pytest.fixture
def exported(released: SignedRelease, tmp_path: Path) -> Path:
    return write_files(tmp_path / "folder", released.files())


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys")


def verify(folder: Path, keys: Path) -> int:
    return main(["evidence", "verify", str(folder), "--approver-keys", str(keys)])


def test_every_decision_is_told_with_the_key_that_signed_it(
    exported: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(exported, keys) == 0
    shown = capsys.readouterr().out
    for who, name in (("ravi", "ravi-approves"), ("cora", "cora-approves"), ("rita", "rita-waives")):
        assert f"{name}, Approve: signed by {who}, key {KEYS[who].public.id}" in shown
    assert "who decided is what the API server said" not in shown


def test_without_keys_it_is_said_that_nobody_compared(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "verify", str(exported)]) == 0
    assert "without --approver-keys, who decided is what the API server said" in capsys.readouterr().out


def test_counted_without_a_signature_differs(tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_files(tmp_path / "unsigned", Released().files())
    assert verify(folder, keys) == 1
    shown = capsys.readouterr().out
    assert "DIFFERS approvals.jsonl: ravi-approves was counted, but ravi did not sign it" in shown
    assert "3 differences" in shown


def test_an_approver_whose_key_is_not_given_differs(
    exported: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (keys / "cora.pem").unlink()
    assert verify(exported, keys) == 1
    assert "cora-approves was counted, but you gave no key of cora\n1 difference" in capsys.readouterr().out


def test_another_key_under_the_approvers_name_differs(
    exported: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (keys / "cora.pem").write_text(KEYS["ravi"].public.pem)
    assert verify(exported, keys) == 1
    said = f"no key that you gave of cora signed it; it names key {KEYS['cora'].public.id}"
    assert said in capsys.readouterr().out


def test_one_file_may_hold_several_keys_and_its_name_may_be_escaped(
    exported: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (keys / "cora.pem").write_text(new_key().public.pem + KEYS["cora"].public.pem)
    (keys / "ravi.pem").rename(keys / "r%61vi.pem")
    assert verify(exported, keys) == 0


def test_a_key_may_be_named_by_the_approvers_person_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released = SignedRelease()
    released.humans = {"ravi": "E-3"}
    released.start_again()
    keys = write_keys(tmp_path / "keys")
    (keys / "ravi.pem").rename(keys / "E-3.pem")
    assert verify(write_files(tmp_path / "folder", released.files()), keys) == 0
    assert f"ravi-approves, Approve: signed by ravi, key {KEYS['ravi'].public.id}" in capsys.readouterr().out
    (keys / "E-3.pem").rename(keys / "E-4.pem")
    assert verify(tmp_path / "folder", keys) == 1


def test_an_override_that_was_counted_has_to_be_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released = SignedRelease()
    glass = {"role": "break-glass", "groups": ["duty"], "maxSeconds": 3600}
    released.world["ApprovalPolicy"]["spec"]["breakGlass"] = glass
    released.ask_again()
    released.override()
    assert released.settle() == "Overridden"
    released.agree()
    assert released.settle() == "Approved"
    assert verify(write_files(tmp_path / "folder", released.files()), write_keys(tmp_path / "keys")) == 1
    assert "dora-overrides was counted, but dora did not sign it" in capsys.readouterr().out


def test_a_stripped_or_swapped_signature_is_found_without_any_key(released: SignedRelease, tmp_path: Path) -> None:
    for change in ("strip", "swap"):
        files = released.files()
        lines = [json.loads(line) for line in files[layout.APPROVALS].splitlines()]
        signatures = [line["spec"].pop("signature") for line in lines]
        if change == "swap":
            for line, signature in zip(lines, reversed(signatures), strict=True):
                line["spec"]["signature"] = signature
        files[layout.APPROVALS] = b"".join(canonical(line) + b"\n" for line in lines)
        forgery.fit_the_index(files)
        assert main(["evidence", "verify", str(write_files(tmp_path / change, files))]) == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("ravi.txt", "x", "holds no file NAME.pem"), ("ravi.pem", "x", "ravi.pem: holds no public key in PEM form")],
)
def test_keys_that_cannot_be_read_end_with_two(
    exported: Path, tmp_path: Path, name: str, content: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / name).write_text(content)
    assert verify(exported, folder) == 2
    assert says in capsys.readouterr().err
    assert verify(exported, tmp_path / "nowhere") == 2
