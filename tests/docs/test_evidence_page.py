"""The commands of "Take a release along" in docs/audit.md, on a folder as an export writes it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.released_adapter import ADAPTER_FILES, KEY, Released
from tunegate.cli.main import main, parser
from tunegate.digests import sha256
from tunegate.ledger.seal import KeyRing

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text()
SECTION = PAGE.split("## Take a release along")[1].split("\n##")[0]


def command(words: str) -> list[str]:
    """Return the arguments of the section's command that begins so."""
    found = re.findall(rf"^tunegate ({words} .*)$", SECTION, re.MULTILINE)
    assert len(found) == 1
    return shlex.split(found[0])


@pytest.fixture(scope="module")
def released() -> Released:
    made = Released()
    made.checkpoint(KeyRing(KEY))
    return made


@pytest.fixture
def exported(released: Released, tmp_path: Path) -> Path:
    """A folder, with the auditor's copy of the key beside it."""
    folder = tmp_path / "folder"
    for path, content in released.files().items():
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_bytes(content)
    Path(f"{folder}-key.pem").write_text(KEY.public.pem)
    return folder


def test_export_command_is_understood() -> None:
    options = parser().parse_args(command("evidence export"))
    assert (str(options.release), options.folder) == ("release/RELEASE", "FOLDER")


def test_verify_command_runs_and_its_statuses_are_those_of_the_page(
    released: Released, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = released.noted()
    values = {
        "FOLDER": str(exported), "RELEASE_DIGEST": str(noted.digest), "HEAD": str(noted.head),
        "INDEX_DIGEST": sha256((exported / "index.json").read_bytes()), "ledger-key.pem": f"{exported}-key.pem",
    }  # fmt: skip
    arguments = [values.get(word, word) for word in command("evidence verify")]
    assert main(arguments) == 0
    (exported / "manifest.json").unlink()
    assert main(arguments) == 1
    assert "DIFFERS manifest.json: is missing" in capsys.readouterr().out


def test_stock_verifiers_command_accepts_the_adapter_and_nothing_beside_it(exported: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name, content in ADAPTER_FILES.items():
        (adapter / name).write_bytes(content)
    found = re.findall(r"^model_signing (verify key .*)$", PAGE, re.MULTILINE)
    assert len(found) == 1
    values = {
        "ADAPTER": str(adapter),
        "FOLDER/model.sig": f"{exported}/model.sig",
        "ledger-key.pem": f"{exported}-key.pem",
    }
    words = [values.get(word, word) for word in shlex.split(found[0])]

    def run() -> int:
        return subprocess.run(
            [sys.executable, "-m", "model_signing", *words], capture_output=True, check=False
        ).returncode

    assert run() == 0
    (adapter / ".gitattributes").write_text("*.bin -text")
    assert run() == 1


def test_every_file_of_the_folder_stands_on_the_page() -> None:
    named = set(re.findall(r"`([a-z.-]+(?:\.[a-z]+|/))`", SECTION))
    written = {path if "/" not in path else f"{path.split('/')[0]}/" for path in Released().files()}
    assert written <= named
