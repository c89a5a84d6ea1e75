"""A stage can be stopped at any time: here it is the first process of its own PID namespace, as in a container.

The kernel drops a SIGTERM that such a process has no handler for.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stage_process import REPOSITORY, Pod, StageProcess, stage_base, until_handled
from tunegate import digests
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.stage.configs import AdapterInput, FetchConfig
from tunegate.api.stage.ends import ExitCode, Termination

NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
MOMENTS = 6
LATEST = 3.0
"""Seconds after the handler is there; by then the stage waits for the registry."""


@pytest.fixture
def silent_host() -> Iterator[str]:
    """A registry that takes connections and never answers, so that the stage does not end by itself."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_first_process_that_gets_sigterm_at_any_moment_ends_soon(
    number: int, silent_host: str, tmp_path: Path
) -> None:
    stage = Pod(tmp_path / "pod", silent_host).start(fetching_from(silent_host, tmp_path), within=NAMESPACE)
    try:
        first = first_process(stage)
        until_handled(first, signal.SIGTERM)
        time.sleep(random.uniform(number, number + 1) * LATEST / MOMENTS)  # noqa: S311
        os.kill(int(first.name), signal.SIGTERM)
        code = stage.process.wait(timeout=20)
    finally:
        stage.process.kill()

    word = stage.folder / "termination"
    if word.exists():
        assert Termination.model_validate_json(word.read_bytes()).reason == "Preempted"
    assert code == (ExitCode.PREEMPTED if word.exists() else 128 + signal.SIGTERM)


def fetching_from(host: str, folder: Path) -> FetchConfig:
    """A stage that waits for the registry."""
    manifest = Manifest(files=[FileEntry(path="adapter_model.safetensors", size=1, sha256="0" * 64)])
    adapter = AdapterInput(
        repository=REPOSITORY, digest=digests.sha256(b""), manifest=manifest,
        manifest_digest=digests.manifest_digest(manifest), path=str(folder / "shared"),
    )  # fmt: skip
    return FetchConfig(**stage_base(host), adapter=adapter)


def first_process(stage: StageProcess) -> Path:
    """Return the folder in /proc of the namespace's first process, once it is there."""
    children = Path(f"/proc/{stage.process.pid}/task/{stage.process.pid}/children")
    deadline = time.monotonic() + 60
    while not (found := children.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return Path("/proc", found[0])
