"""The single file of the command line, built and run where nothing else is: no environment, no home, no packages."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from chores.cli_file import MOST_BYTES, PYTHONS, REQUIREMENTS, ROOT, build, uv
from tests.cli.test_kubeconfig import Kubeconfigs, Shown, Site, site

pytestmark = pytest.mark.timeout(900)
__all__ = ["Kubeconfigs", "Shown", "Site", "site"]
PAGE = ROOT / "docs/cli.md"
HEAVY = {"torch", "mlflow", "mlflow-skinny", "mypy", "kubernetes", "numpy", "transformers", "spacy"}


def pythons() -> list[str]:
    """Return the Pythons of this machine that the file is for, this one first."""
    found = [sys.executable]
    for version in PYTHONS:
        home = Path.home() / ".pyenv/versions"
        found += sorted(map(str, home.glob(f"{version}.*/bin/python")))
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (built,) = build(tmp_path_factory.mktemp("dist"), [f"linux-{platform.machine()}"])
    return built


def run(file: Path, home: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run the file with an empty environment; `-I` leaves out this environment's packages and the current folder."""
    command = ["env", "-i", f"HOME={home}", python, "-I", "-S", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=600)


def test_the_file_is_small_and_tells_its_commit(file: Path, tmp_path: Path) -> None:
    assert file.stat().st_size <= MOST_BYTES
    head = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    for python in pythons():
        done = run(file, tmp_path / "home", "version", python=python)
        assert done.returncode == 0, done.stderr
        assert f"commit {head}" in done.stdout
    kept = list((tmp_path / "home/.cache/tunegate/program").iterdir())
    assert len(kept) == len({name.name for name in kept})
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in kept)


def test_the_wheel_is_installed_by_the_pages_lines_on_each_python(file: Path, tmp_path: Path) -> None:
    lines = re.findall(r"`((?:uv tool|pipx) install 'dist/tunegate-0.1.0-py3-none-any.whl\[cli\]')`", PAGE.read_text())
    assert [line.split()[0] for line in lines] == ["uv", "pipx"]
    assert len({line.split()[-1] for line in lines}) == 1
    for python in pythons()[1:] or pythons():
        place = tmp_path / python.replace("/", "_")
        environment = {**os.environ, "UV_TOOL_DIR": str(place / "tools"), "UV_TOOL_BIN_DIR": str(place / "bin")}
        words = [uv(), *shlex.split(lines[0].replace("dist/", f"{file.parent}/"))[1:], "--quiet", "--python", python]
        subprocess.run(words, env=environment, check=True)
        assert (place / "bin/kubectl-tunegate").exists()
        command = ["env", "-i", f"HOME={place}", str(place / "bin/tunegate"), "version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.stdout.startswith("tunegate 0.1.0, commit "), done.stderr


def test_the_file_asks_an_api_server(file: Path, site: Site, tmp_path: Path) -> None:
    path = Kubeconfigs(tmp_path, site).write({"token": "abc"})
    done = run(file, tmp_path, "--kubeconfig", path, "get", "jobs")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no finetunejobs in namespace team\n"


def test_a_folder_that_others_may_write_is_not_run(file: Path, tmp_path: Path) -> None:
    assert run(file, tmp_path, "version").returncode == 0
    kept = tmp_path / ".cache/tunegate/program"
    (folder,) = kept.iterdir()
    (folder / "tunegate/cli/main.py").write_text("print('planted')")
    kept.chmod(0o777)
    done = run(file, tmp_path, "version")
    assert done.returncode == 0
    assert "planted" not in done.stdout


def test_an_older_python_is_told_which_one_is_needed(file: Path, tmp_path: Path) -> None:
    program = f"import sys, runpy; sys.version_info = (3, 8, 0, 'final', 0); runpy.run_path({str(file)!r}, run_name='__main__')"
    command = ["env", "-i", f"HOME={tmp_path}", sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert re.search(r"this file runs on linux-\w+-3\.11, .*3\.13; here is linux-\w+-3\.8", done.stderr)


def test_the_commands_need_nothing_that_the_file_does_not_hold() -> None:
    pinned = re.findall(r"^([\w.-]+)==", REQUIREMENTS.read_text(), re.M)
    held = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    installed = packages_distributions().items()
    absent = [name for name, of in installed if not {re.sub(r"[-_.]+", "-", one).lower() for one in of} & held]
    program = f"""
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(absent) - {"tunegate", "tunegate_trainer"}!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from tunegate.cli.main import parser
parser()
"""
    environment = {"PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_requirements_are_those_of_the_lock_file_and_hold_nothing_heavy() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", REQUIREMENTS.read_text(), re.M))
    locked = dict(
        re.findall(r'\[\[package\]\]\nname = "([\w.-]+)"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text())
    )
    assert {name: locked[name] for name in pinned} == pinned
    assert not HEAVY & pinned.keys()
