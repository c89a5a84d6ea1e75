"""What the pages in docs/ tell people to do: commands run, links lead somewhere, values of the chart exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
CACHE = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache/tunegate")))
USERS = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local")) / "users"
VALUE = re.compile(
    r"`((?:registry|mlflow|operator|hubMirror|networkPolicies|admission|ledger)(?:\.[a-zA-Z]+)+)(?:=[^`]*)?`"
)
ADJACENT_LINK = re.compile(r"\]\(([^)#]+)")


def commands(page: Path) -> Iterator[str]:
    """Yield what stands after `$ ` in the console blocks of a page."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An administrator's environment in which `kubectl`, `helm` and `tunegate` are found."""
    folder = tmp_path_factory.mktemp("bin")
    start = "import sys; from tunegate.cli.main import main; sys.exit(main())"
    (folder / "tunegate").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{start}" "$@"\n')
    (folder / "tunegate").chmod(0o755)
    return {
        "PATH": f"{folder}:{CACHE / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(USERS / "admin.kubeconfig"),
    }


@pytest.mark.cluster
@pytest.mark.e2e
@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))], ids=lambda page: page.stem)
def test_every_command_runs_on_the_installed_chart(page: Path, shell: dict[str, str], tmp_path: Path) -> None:
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page.name}: $ {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = [link for link in ADJACENT_LINK.findall(page.read_text()) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_chart_value_that_is_named_exists(page: Path) -> None:
    schema = json.loads((ROOT / "charts/tunegate/values.schema.json").read_text())
    for path in VALUE.findall(page.read_text()):
        part = schema
        for name in path.split("."):
            assert name in part.get("properties", {}), f"{page.name}: the chart has no value {path}"
            part = part["properties"][name]
