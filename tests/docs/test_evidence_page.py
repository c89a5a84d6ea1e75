"""The commands of "Take a release along" in docs/audit.md, on a folder as an export writes it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.evidence.release import Released
from tunegate.cli.main import main, parser
from tunegate.digests import sha256

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text()
SECTION = PAGE.split("## Take a release along")[1].split("\n##")[0]


def command(words: str) -> list[str]:
    """Return the arguments of the section's command that begins so."""
    found = re.findall(rf"^tunegate ({words} .*)$", SECTION, re.MULTILINE)
    assert len(found) == 1
    return shlex.split(found[0])


def test_export_command_is_understood() -> None:
    options = parser().parse_args(command("evidence export"))
    assert (options.name, options.output, options.registry) == ("RELEASE", "FOLDER", "HOST")


def test_verify_command_runs_and_its_statuses_are_those_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released = Released()
    for path, content in released.files().items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    noted = released.noted()
    values = {
        "FOLDER": str(tmp_path), "RELEASE_DIGEST": str(noted.digest), "HEAD": str(noted.head),
        "INDEX_DIGEST": sha256((tmp_path / "index.json").read_bytes()),
    }  # fmt: skip
    arguments = [values.get(word, word) for word in command("evidence verify")]
    assert main(arguments) == 0
    (tmp_path / "manifest.json").unlink()
    assert main(arguments) == 1
    assert "DIFFERS manifest.json: is missing" in capsys.readouterr().out


def test_every_file_of_the_folder_stands_on_the_page() -> None:
    named = set(re.findall(r"`([a-z.-]+(?:\.[a-z]+|/))`", SECTION))
    written = {path if "/" not in path else f"{path.split('/')[0]}/" for path in Released().files()}
    assert written <= named
