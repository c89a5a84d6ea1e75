"""`start` refuses with a clear text where it can't run, before it touches the machine. The command itself is run, as a person would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@NEEDS_ROOT
def test_a_user_who_is_not_root_is_told_so(tmp_path: Path) -> None:
    # The modules are read as root: the checkout may lie where nobody else can read.
    script = (
        f"import os, sys; sys.path.insert(0, {str(REPOSITORY / 'local-cluster')!r})\n"
        "from tunegate_local.__main__ import main\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main(['start']))"
    )
    env = {**os.environ, "TUNEGATE_STATE": str(tmp_path / "state"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert "next step: run it with sudo" in done.stderr
    assert not (tmp_path / "state").exists()


@NEEDS_ROOT
def test_a_taken_port_is_named_with_its_owner(tmp_path: Path) -> None:
    """Port 10249 on every address, in a network of its own, so that a running cluster does not matter."""
    script = (
        "import socket, subprocess, sys\n"
        "taken = socket.create_server(('0.0.0.0', 10249))\n"
        f"sys.path.insert(0, {str(REPOSITORY / 'local-cluster')!r})\n"
        "from tunegate_local.__main__ import main\nsys.exit(main(['start']))"
    )
    env = {**os.environ, "TUNEGATE_STATE": str(tmp_path / "state"), "TUNEGATE_CACHE": str(tmp_path / "cache")}
    command = ["unshare", "--net", sys.executable, "-c", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "127.0.0.1:10249, which the kube-proxy needs, is taken by process" in done.stderr
    assert "next step: stop that program" in done.stderr


@NEEDS_ROOT
def test_a_disk_that_is_too_small_is_named_with_its_free_space(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = (
        f"mount -t tmpfs -o size=64m none {small} && "
        f"TUNEGATE_STATE={small}/state PYTHONPATH={REPOSITORY}/local-cluster {sys.executable} -m tunegate_local start"
    )
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "has 0.1 GiB free; the cluster's state needs 3 GiB" in done.stderr


def test_without_go_the_build_says_what_to_install(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'local-cluster')!r})\n"
        "from tunegate_local import binaries, failure\n"
        "try:\n    binaries.ensure_pause()\n"
        "except failure.Failure as problem:\n    print(problem.text())\n"
    )
    (tmp_path / "cache" / "bin").mkdir(parents=True)
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path), "TUNEGATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert "Go: not found on PATH" in done.stdout
    assert "next step: install Go 1.25 or newer" in done.stdout


def test_wiping_a_directory_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    script = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'local-cluster')!r})\n"
        "from pathlib import Path\nfrom tunegate_local import cleanup, failure\n"
        f"try:\n    cleanup.remove_ours(Path({str(precious)!r}))\n"
        "except failure.Failure as problem:\n    print(problem.text())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "does not look like ours" in done.stdout
    assert (precious / "thesis.txt").exists()
