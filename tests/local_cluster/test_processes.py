"""The local cluster's own processes are ended, gently or at once, and never one that only has the number of such a process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunegate_local import processes, settings

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


@pytest.fixture(autouse=True)
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "RUN", tmp_path / "run")
    monkeypatch.setattr(settings, "LOGS", tmp_path / "logs")
    yield
    processes.kill(processes.recorded_names())


def start_stubborn(name: str) -> int:
    """Start a process that ignores SIGTERM, and return its pid once it does."""
    processes.ensure(name, [sys.executable, "-c", STUBBORN])
    processes.wait_ready(name, lambda: "up" in processes.log_file(name).read_text(), 60)
    pid = processes.running_pid(name)
    assert pid is not None
    return pid


def test_what_does_not_hear_is_killed_with_all_others_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 600)
    pids = [start_stubborn(name) for name in ("one", "two")]

    processes.kill(["one", "two", "never started"])

    assert [processes.started_at(pid) for pid in pids] == [None, None]
    assert processes.recorded_names() == []


def test_a_foreign_process_with_a_recorded_number_lives_on() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as foreign:
        try:
            settings.RUN.mkdir(parents=True)
            record = {"pid": foreign.pid, "startedAt": (processes.started_at(foreign.pid) or 0) - 1, "wanted": []}
            (settings.RUN / "kubelet.json").write_text(json.dumps(record))

            processes.kill(["kubelet"])
            processes.end("kubelet")

            time.sleep(0.2)
            assert foreign.poll() is None
        finally:
            foreign.kill()
