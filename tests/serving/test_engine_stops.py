"""The engine's container can be stopped at any time: the shell that starts it runs here as the first process of its own PID namespace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunegate.manifests.engine import LAST_SECONDS, VLLM, engine_command

NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
LOADING = "import time; print(flush=True); time.sleep(60)"
READY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(5)))
print(flush=True)
time.sleep(60)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(60)
"""


@contextmanager
def started(code: str, uds: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python ``code`` where vLLM would run."""
    command = engine_command(str(uds) if uds else None)[: -len(VLLM)]
    shell = [word.replace(f"sleep {LAST_SECONDS}", "sleep 1") for word in command]
    command = [*NAMESPACE, *shell, sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
        try:
            yield outside
        finally:
            outside.kill()


def terminate(outside: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the namespace's first process, as a container runtime does, once the code has printed a line."""
    assert outside.stdout is not None
    outside.stdout.readline()
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
    subprocess.run(["kill", "-TERM", *children], check=True)


def test_an_engine_that_is_still_loading_ends_at_once() -> None:
    with started(LOADING) as outside:
        terminate(outside)
        assert outside.wait(timeout=10) == 128 + 15


def test_an_engine_that_finishes_its_work_is_waited_for() -> None:
    with started(READY) as outside:
        terminate(outside)
        assert outside.wait(timeout=10) == 5


def test_an_engine_that_does_not_hear_is_killed_in_the_end() -> None:
    with started(DEAF) as outside:
        terminate(outside)
        assert outside.wait(timeout=30) == 128 + 9


def test_an_engine_that_fails_by_itself_keeps_its_exit_code() -> None:
    with started("raise SystemExit(7)") as outside:
        assert outside.wait(timeout=10) == 7


def test_a_socket_left_by_a_killed_engine_is_taken_away(tmp_path: Path) -> None:
    left = tmp_path / "vllm.sock"
    left.touch()
    with started("pass", uds=left) as outside:
        assert outside.wait(timeout=10) == 0
    assert not left.exists()
