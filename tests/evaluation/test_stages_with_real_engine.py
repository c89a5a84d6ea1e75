"""Stages `baseline` and `evaluate` against a real vLLM with the real small model, a real registry and a real adapter.

The adapter is made of random numbers: it earns nothing, so the gate must not pass, but it changes every answer, so the
probe must recognize it and must not take the base model for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.evaluation.suites import SCHEMA, suite_spec, write_rows
from tests.gateway.small_adapter import write_adapter
from tests.registry.registry_process import running_registry
from tests.trainer.stage_process import REPOSITORY, base_model_input, stage_base
from tunegate import digests
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stages import (
    ANSWERS_MEDIA_TYPE,
    RESULT_MEDIA_TYPE,
    AdapterInput,
    BaselineConfig,
    BaselineResult,
    DatasetInput,
    EvaluateConfig,
    SuiteInput,
)
from tunegate.manifests.engine import engine_args, engine_env
from tunegate.probes import Scored, matches
from tunegate.registry.adapters import read_manifest
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import DigestMismatch
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation import answers, baseline, evaluate
from tunegate_trainer.evaluation.engine import Engine
from tunegate_trainer.evaluation.questions import load_suite
from tunegate_trainer.progress import ProgressBoard
from tunegate_trainer.tracking import Tracker

pytestmark = [pytest.mark.model, pytest.mark.timeout(1200)]

PROFILE = EngineProfile(
    image=f"engine@sha256:{'0' * 64}", device="CPU", dtype="float32", max_model_len=512, max_lora_rank=8,
    max_loras=1, enforce_eager=True, kv_cache_memory="1Gi",
)  # fmt: skip
ROWS = [(f"Copyright {1990 + n} Maker {n}", json.dumps({"holder": f"Maker {n}", "years": str(1990 + n)}), f"m{n}") for n in range(24)]


@dataclass(frozen=True)
class Site:
    """Everything that the two stages need."""

    url: str
    context: StageContext
    fields: dict[str, Any]
    adapter: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cache = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache/tunegate")))
    base = Path(os.environ.get("TUNEGATE_TEST_MODEL", str(cache / "models" / "smollm2")))
    folder = tmp_path_factory.mktemp("evaluation")
    adapter = write_adapter(folder / "adapter", base)
    with running_registry(folder / "registry") as registry, running_engine(folder, base, adapter) as url:
        client = RegistryClient(registry.host, plain_http=True)
        names = ("config", "termination", "registry_auth", "tracking_auth", "ca", "workspace", "run")
        fields = stage_base(registry.host)
        context = StageContext(
            Places(**{name: folder / name for name in names}),
            client,
            ProgressBoard("test"),
            Tracker(None, fields["job"], folder, folder / "ca"),
        )
        fields |= {"base_model": base_model_input(base), "profile": PROFILE, **inputs(folder)}
        yield Site(url, context, fields, adapter)
        client.close()


def inputs(folder: Path) -> dict[str, Any]:
    spec = suite_spec(
        data={
            "uri": "pvc://d/suite.jsonl",
            "digest": write_rows(folder / "suite.jsonl", ROWS[:12]),
            "groupField": "group",
        },
        task={"type": "Extraction", "maxTokens": 24, "jsonSchema": json.dumps(SCHEMA)},
        fewShot={"shots": 3},
        baselines={
            "nearestNeighbor": True,
            "regex": r"Copyright (?P<years>\d{4}) (?P<holder>.+)",
            "regexTemplate": '{{"holder": "{holder}", "years": "{years}"}}',
        },
    )
    suite = SuiteInput(
        name="s", path=str(folder / "suite.jsonl"), digest=digests.document_digest(spec.to_dict()), spec=spec
    )
    digest = write_rows(folder / "train.jsonl", ROWS[12:])
    return {
        "dataset": DatasetInput(path=str(folder / "train.jsonl"), digest=digest, group_field="group"),
        "suite": suite,
    }


class running_engine:  # noqa: N801 - used like the function running_registry
    """vLLM on loopback with the adapter loaded as `tuned`; ends with the block."""

    def __init__(self, folder: Path, base: Path, adapter: Path) -> None:
        with httpx.Client() as _, __import__("socket").socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "engine.log"
        arguments = engine_args(
            PROFILE, str(base), "base", lora_modules=[("tuned", str(adapter))], host="127.0.0.1", port=self.port
        )
        environment = {one["name"]: one["value"] for one in engine_env(PROFILE)}
        environment |= {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    def __enter__(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
