"""Completion in a real bash, and by a real kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.governed_namespace import World
from tests.support.programs import program

ROOT = Path(__file__).resolve().parents[2]
ASK = """
source <(tunegate completion bash)
COMP_WORDS=({line}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE={quoted} COMP_POINT={point} COMP_TYPE=9
_python_argcomplete tunegate
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the programs of pyproject.toml are found, and no cluster."""
    folder = tmp_path_factory.mktemp("bin")
    for name, start in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items():
        module, _, function = start.partition(":")
        code = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        (folder / name).write_text(f"#!{sys.executable}\n{code}")
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:{Path(program('kubectl')).parent}:{os.environ['PATH']}", "HOME": str(folder),
        "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(folder / "none"), "COMP_WORDBREAKS": " \"'><=;|&(:",
    }  # fmt: skip


def completed(shell: dict[str, str], line: str) -> list[str]:
    """Return what bash would offer after the line."""
    script = ASK.format(line=line, quoted=f"'{line}'", point=len(line))
    done = subprocess.run(["bash", "-c", script], env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [one.strip() for one in done.stdout.splitlines() if one.strip()]


def by_kubectl(shell: dict[str, str], *words: str) -> list[str]:
    done = subprocess.run(
        ["kubectl", "__complete", "tunegate", *words], env=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_bash_completes_commands_options_and_choices(shell: dict[str, str]) -> None:
    assert set(completed(shell, "tunegate re")) == {"reject", "resume", "retry", "revoke"}
    assert completed(shell, "tunegate get re") == ["releases"]
    assert "--reason" in completed(shell, "tunegate approve x --rea")
    assert completed(shell, "tunegate get releases -o y") == ["yaml"]


def test_without_a_cluster_names_complete_to_nothing_and_print_no_error(shell: dict[str, str]) -> None:
    assert completed(shell, "tunegate describe ext") == []
    assert completed(shell, "tunegate describe job/ext") == []
    assert completed(shell, "tunegate describe jo") == ["job/"]


def test_kubectl_finds_the_plugin_and_completes_its_words(shell: dict[str, str]) -> None:
    assert sorted(by_kubectl(shell, "re")) == [":4", "reject", "resume", "retry", "revoke"]
    assert by_kubectl(shell, "get", "releases", "-o", "") == ["text", "json", "yaml", "wide", "name", ":4"]
    shown = subprocess.run(["kubectl", "tunegate", "--help"], env=shell, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("usage: kubectl tunegate ")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: dict[str, str], name: str) -> None:
    done = subprocess.run(["tunegate", "completion", name], env=shell, capture_output=True, text=True, check=True)
    assert "tunegate" in done.stdout
    assert "_ARGCOMPLETE" in done.stdout


@pytest.mark.cluster
def test_names_come_from_the_cluster(shell: dict[str, str], world: World) -> None:
    world.create("engineer", world.release("tabbed"), dry_run=False).passes()
    there = {**shell, "KUBECONFIG": world.kubeconfig("engineer")}
    assert completed(there, f"tunegate -n {world.namespace} describe tab") == ["tabbed"]
    assert completed(there, f"tunegate -n {world.namespace} approve tab") == ["tabbed"]
    assert completed(there, f"tunegate -n {world.namespace} approve release/tab") == ["release/tabbed"]
    assert by_kubectl(there, "describe", "-n", world.namespace, "tab") == ["tabbed", ":4"]
    assert completed(there, f"tunegate -n {world.namespace} describe no-such") == []
