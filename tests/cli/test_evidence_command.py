"""`tunegate evidence verify` on a folder alone: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ledgers import new_key
from tests.support.released_adapter import KEY, Released
from tunegate.cli.main import main
from tunegate.digests import sha256
from tunegate.ledger.seal import KeyRing


@pytest.fixture(scope="module")
def released() -> Released:
    return Released()


@pytest.fixture
def exported(released: Released, tmp_path: Path) -> Path:
    for path, content in released.files().items():
        (tmp_path / "folder" / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "folder" / path).write_bytes(content)
    return tmp_path / "folder"


def verify(*arguments: str | Path) -> int:
    return main(["evidence", "verify", *map(str, arguments)])


def test_folder_that_fits_is_told_in_full(
    released: Released, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = released.noted()
    index = sha256((exported / "index.json").read_bytes())
    assert verify(exported, "--digest", str(noted.digest), "--head", str(noted.head), "--index", index) == 0
    shown = capsys.readouterr().out
    for words in (
        "evidence of team/release fits",
        "ravi (risk)",
        "267 rows",
        "Pass, ExactMatch",
        "API server proved it",
    ):
        assert words in shown
    assert "without --digest" not in shown
    assert "without --head" not in shown


def test_what_was_not_noted_is_said_openly(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(exported) == 0
    shown = capsys.readouterr().out
    assert "without --digest, a folder that was made up whole fits as well" in shown
    assert "without --head" in shown


def test_signatures_are_checked_with_the_auditors_key_and_only_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = Released()
    signed.checkpoint(KeyRing(KEY))
    for path, content in signed.files().items():
        (tmp_path / "folder" / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "folder" / path).write_bytes(content)
    (tmp_path / "key.pem").write_text(KEY.public.pem)
    (tmp_path / "other.pem").write_text(new_key().public.pem)
    assert verify(tmp_path / "folder") == 0
    assert "Signatures were not checked: give --public-key" in capsys.readouterr().out
    assert verify(tmp_path / "folder", "--public-key", tmp_path / "key.pem") == 0
    shown = capsys.readouterr().out
    assert "provenance, release, model: by the operator" in shown
    assert "not checked" not in shown
    assert verify(tmp_path / "folder", "--public-key", tmp_path / "other.pem") == 1
    assert "signed nothing here" in capsys.readouterr().out
    assert verify(tmp_path / "folder", "--public-key", tmp_path / "folder" / "verify.txt") == 2
    assert "not an ECDSA P-256 or Ed25519 key" in capsys.readouterr().err


def test_nothing_of_a_folder_moves_the_cursor(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (exported / "\x1b[2Jfits").write_text("x")
    assert verify(exported) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_altered_file_is_named(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = exported / "approvals.md"
    page.write_text(page.read_text().replace("ravi", "rita"))
    assert verify(exported) == 1
    assert capsys.readouterr().out == (
        f"DIFFERS approvals.md: is not what the other files give\n1 difference in {exported}\n"
    )


def test_another_release_digest_or_head_is_named(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "sha256:" + "1" * 64
    assert verify(exported, "--digest", other) == 1
    assert "DIFFERS release-statement.json: its SHA-256 is" in capsys.readouterr().out
    assert verify(exported, "--head", f"99:{other}") == 1
    assert "the tail was cut" in capsys.readouterr().out
    assert verify(exported, "--index", other) == 1
    assert "DIFFERS index.json" in capsys.readouterr().out


def test_what_is_no_file_of_the_folder_is_named(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (exported / ".hidden").write_text("x")
    (exported / "link").symlink_to("/etc/passwd")
    (exported / "two\nlines").write_text("x")
    assert verify(exported) == 1
    shown = capsys.readouterr().out
    assert "DIFFERS link: is no regular file" in shown
    assert "DIFFERS .hidden: does not belong here" in shown
    assert r"DIFFERS two\nlines: does not belong here" in shown


def test_link_in_place_of_a_file_is_no_file(exported: Path, tmp_path: Path) -> None:
    (exported / "verify.txt").rename(tmp_path / "verify.txt")
    (exported / "verify.txt").symlink_to(tmp_path / "verify.txt")
    assert verify(exported) == 1


def test_folder_that_cannot_be_read_ends_with_two(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(tmp_path / "none") == 2
    assert "cannot be read" in capsys.readouterr().err
    assert verify(exported / "verify.txt") == 2


@pytest.mark.parametrize(
    ("option", "value"), [("--digest", "abc"), ("--head", "abc"), ("--head", "x:sha256:1"), ("--index", "sha256:1")]
)
def test_digest_in_another_form_is_refused(exported: Path, option: str, value: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        verify(exported, option, value)
