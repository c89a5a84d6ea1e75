"""Servers that tests start, and their ports on loopback."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Below the range from which Linux takes the ports of outgoing connections (32768 on), so that none of those can slip in
# between the choice of a port and the bind of the server; and below the node ports of Kubernetes (30000 on).
_CHOICE = list(range(20000, 30000))
random.SystemRandom().shuffle(_CHOICE)


def free_port() -> int:
    """Return a port on which nothing listens and which this process was not given before."""
    while True:
        port = _CHOICE.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def running_server(
    command: Sequence[str | Path], address: str, port: int, log: Path, *,
    folder: Path | None = None, environment: Mapping[str, str] | None = None,
) -> Iterator[None]:  # fmt: skip
    """Run a server, from the moment when it takes connections until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environment)
    try:
        wait_until_open(address, port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_until_open(address: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server that was just started takes connections. Raises ``RuntimeError`` with the end of its log."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the server did not come up: {log.read_text()[-500:]}")
