"""The cluster's long-running processes: started apart from the terminal, remembered by pid and start time, ended by exactly that.

A pid alone can belong to somebody else after a reboot; pid and start time together can't. Nothing is ever ended by name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tunegate_local import settings
from tunegate_local.failure import Failure

STOP_SECONDS = 20.0
POLL_SECONDS = 0.1


def log_file(name: str) -> Path:
    return settings.LOGS / f"{name}.log"


def _record_file(name: str) -> Path:
    return settings.RUN / f"{name}.json"


def started_at(pid: int) -> int | None:
    """A process's start in clock ticks since boot (field 22 of /proc/PID/stat); None when it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start = fields[0], int(fields[19])
    return None if state in "ZX" else start


def running_pid(name: str) -> int | None:
    """The pid of our process of this name when it runs."""
    try:
        record = json.loads(_record_file(name).read_text())
    except FileNotFoundError:
        return None
    pid: int = record["pid"]
    return pid if started_at(pid) == record["startedAt"] else None


def recorded_names() -> list[str]:
    return sorted(file.stem for file in settings.RUN.glob("*.json"))


def _fingerprint(arguments: Sequence[str]) -> list[str]:
    """What decides whether a running process is the one that is wanted: its words and the program's own identity."""
    program = Path(arguments[0]).stat()
    return [*arguments, f"{program.st_ino}:{program.st_mtime_ns}"]


def ensure(
    name: str,
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    settings_text: str = "",
    urgent: bool = False,
) -> bool:
    """Start a process unless it already runs with the same words and settings. True when it was started now.

    ``urgent`` puts it before others on a busy machine. Not for what starts containers: they would inherit it.
    """
    words = [str(word) for word in arguments]
    wanted = [*_fingerprint(words), settings_text]
    if running_pid(name) is not None:
        if json.loads(_record_file(name).read_text())["wanted"] == wanted:
            return False
        end(name)
    settings.LOGS.mkdir(parents=True, exist_ok=True)
    settings.RUN.mkdir(parents=True, exist_ok=True)
    with log_file(name).open("a") as log:
        process = subprocess.Popen(
            ["nice", "-n", "-10", *words] if urgent else words,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
    _record_file(name).write_text(
        json.dumps({"pid": process.pid, "startedAt": started_at(process.pid), "wanted": wanted})
    )
    return True


def end(name: str) -> None:
    """End our process of this name and forget it."""
    pid = running_pid(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running_pid(name) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += STOP_SECONDS
            _reap(pid)
            time.sleep(POLL_SECONDS)
    _record_file(name).unlink(missing_ok=True)


def kill(names: Sequence[str]) -> None:
    """End our processes of these names without asking, all at once, and forget them. For what keeps no data that is needed again."""
    pids = {name: pid for name in names if (pid := running_pid(name)) is not None}
    for pid in pids.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for name, pid in pids.items():
        while running_pid(name) is not None:
            _reap(pid)
            time.sleep(POLL_SECONDS)
    for name in names:
        _record_file(name).unlink(missing_ok=True)


def _reap(pid: int) -> None:
    """Take the exit status of a process that this same command started; one started earlier is init's to take."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def wait_ready(name: str, ready: Callable[[], bool], seconds: float) -> None:
    """Wait until a component answers; fail at once when its process ended."""
    deadline = time.monotonic() + seconds
    while not ready():
        pid = running_pid(name)
        if pid is not None:
            _reap(pid)
        if running_pid(name) is None:
            raise Failure(name, "ended while starting", f"read {log_file(name)}, then start again", log_file(name))
        if time.monotonic() > deadline:
            raise Failure(name, f"not ready after {seconds:.0f} s", "run `stop`, then `start` again", log_file(name))
        time.sleep(POLL_SECONDS)
