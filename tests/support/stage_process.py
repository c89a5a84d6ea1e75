"""Runs stages as pods run them: own process, a configuration file, a real registry, a termination file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import BaseModelInput, JobIdentity, RegistryTarget, StageConfigBase
from tunegate.api.stage.ends import Termination
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, StageResult
from tunegate.registry.client import RegistryClient
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.inputs import model_files
from tunegate_trainer.progress import ProgressBoard

ROOT = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))
"""Of the job's checkpoints."""
REPOSITORY = "team-a/tone-0a1b2c3d"


@dataclass(frozen=True)
class StageEnding:
    """What the operator would see of the pod."""

    exit_code: int
    termination: Termination
    result: StageResult | None
    log: str


@dataclass
class StageProcess:
    """A stage that runs; ``end`` waits for it."""

    process: subprocess.Popen[bytes]
    folder: Path
    host: str

    def end(self, seconds: float = 600) -> StageEnding:
        """Wait and gather. A process that takes longer is asked to stop, with all that it started."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(timeout=120)
            raise
        log = (self.folder / "log").read_text()
        word = Termination.model_validate_json((self.folder / "termination").read_bytes())
        return StageEnding(code, word, self._result(word.result_digest), log)

    def _result(self, digest: str | None) -> StageResult | None:
        if digest is None:
            return None
        with RegistryClient(self.host, plain_http=True) as client:
            content = client.pull_document(f"{REPOSITORY}/results", digest, media_type=RESULT_MEDIA_TYPE)
        return STAGE_RESULT.validate_json(content)


@dataclass
class Pod:
    """A place to run stages in."""

    folder: Path
    host: str
    workspace: Path = field(init=False)
    started: int = 0
    patience: float = 0.0
    """For how many seconds its stages wait for the registry."""

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        self.workspace.mkdir(parents=True, exist_ok=True)
        (self.folder / "checkpoint-key").write_bytes(KEY)

    def start(
        self, config: StageConfigBase, *, within: Sequence[str] = (), promised: str | None = None, **environment: str
    ) -> StageProcess:
        """Start `python -m tunegate_trainer` with ``config``, by way of the command ``within`` where there is one.

        ``promised``: the digest of the configuration in the pod's template, by default that of ``config``.
        """
        folder, arguments = self.prepare(config, promised=promised, port=environment.pop("PROGRESS_PORT", "0"))
        command = [*within, sys.executable, "-m", "tunegate_trainer", *arguments]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env=_environment(environment), stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )
        return StageProcess(process, folder, self.host)

    def prepare(
        self, config: StageConfigBase, *, promised: str | None = None, port: str = "0"
    ) -> tuple[Path, list[str]]:
        """Write the files of another attempt, and return their folder and the stage's arguments."""
        self.started += 1
        folder = self.folder / f"attempt-{self.started}"
        folder.mkdir()
        text = json.dumps(config.to_dict())
        (folder / "stage.json").write_text(text)
        arguments: list[str | float | Path] = [
            "--config", folder / "stage.json", "--config-digest", promised or digests.sha256(text.encode()),
            "--base-record", self.folder / "base.json", "--checkpoint-key", self.folder / "checkpoint-key",
            "--termination", folder / "termination", "--registry-auth", folder / "none.json",
            "--ca", folder / "none.crt", "--store", self.folder / "store",
            "--workspace", self.workspace, "--progress-port", port,
            "--registry-patience", self.patience,
        ]  # fmt: skip
        return folder, list(map(str, arguments))

    def run(self, config: StageConfigBase, **environment: str) -> StageEnding:
        """Start and wait."""
        return self.start(config, **environment).end()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    path = os.pathsep.join(str(ROOT / name) for name in ("operator", "trainer-image"))
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **threads, **offline, "PYTHONPATH": path, **extra}


def until_handled(proc: Path, number: int) -> None:
    """Wait until a process, given as its folder in /proc, has a handler for the signal."""
    deadline = time.monotonic() + 60
    while not _handled(proc, number):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def _handled(proc: Path, number: int) -> bool:
    """Look at the mask of caught signals in the process's status."""
    masks = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    return bool(int(masks["SigCgt"], 16) >> (number - 1) & 1)


def stage_context(folder: Path) -> StageContext:
    """What a stage that runs in this process is given: places below ``folder``, and nobody to tell."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    places = Places(**{name: folder / name for name in Places.__dataclass_fields__})
    return StageContext(places, RegistryClient("127.0.0.1:1"), ProgressBoard("test"))


def stage_base(host: str, attempt: int = 1) -> dict[str, Any]:
    """The fields that every stage configuration has."""
    return {
        "job": JobIdentity(
            namespace="team-a", name="tone", uid="0a1b2c3d-0000-4000-8000-000000000000", attempt=attempt
        ),
        "registry": RegistryTarget(host=host, plain_http=True, repository=REPOSITORY),
    }


def base_model_input(folder: Path) -> BaseModelInput:
    """A model as the catalogue knows it."""
    manifest = Manifest(files=[digests.file_entry(folder, path) for path in model_files(folder)[0]])
    return BaseModelInput(
        name="smollm2", path=str(folder), context_length=8192, manifest=manifest,
        manifest_digest=digests.manifest_digest(manifest),
    )  # fmt: skip


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write chat JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Short conversations with one rule: answer with the number's digits in brackets."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Item {number}: code?"},
                {"role": "assistant", "content": f"[{'-'.join(str(number))}]"},
            ],
            "document": f"doc-{number // 2}",
        }
        for number in range(start, start + count)
    ]
