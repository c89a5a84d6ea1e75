"""Fixtures of the stage tests: a real registry, the small real base model, and the same model cut to two layers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.stage_process import Pod
from tests.support.validation import Validate, make_config
from tunegate.api.stage.results import ValidateResult
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.progress import ProgressBoard


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def pod(registry: RunningRegistry, tmp_path: Path) -> Pod:
    """A fresh pod with an empty workspace."""
    return Pod(tmp_path / "pod", registry.host)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="session")
def base_model() -> Path:
    """SmolLM2-135M-Instruct as examples/licenses/prepare_base_model.py writes it."""
    cache = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache/tunegate")))
    folder = Path(os.environ.get("TUNEGATE_TEST_MODEL", str(cache / "models" / "smollm2")))
    if not (folder / "config.json").exists():
        pytest.fail(f"no base model at {folder}: make it with examples/licenses/prepare_base_model.py")
    return folder


@pytest.fixture(scope="session")
def small_model(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's first two layers: real tokenizer, template and embeddings, steps that take a blink."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("small-model")
    for path in base_model.iterdir():
        if path.name != "model.safetensors":
            shutil.copy(path, folder / path.name)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    weights = load_file(base_model / "model.safetensors")
    kept = {
        name: tensor
        for name, tensor in weights.items()
        if ".layers." not in name or name.split(".layers.")[1].split(".")[0] in {"0", "1"}
    }
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def validate(base_model: Path, tmp_path: Path) -> Validate:
    """Run the stage in this process: loading the libraries once is most of its time."""
    from tunegate_trainer.validation import examine

    run, workspace = tmp_path / "run", tmp_path / "workspace"
    run.mkdir()
    workspace.mkdir()
    everywhere = Places(**dict.fromkeys(Places.__dataclass_fields__, tmp_path))
    places = dataclasses.replace(everywhere, workspace=workspace, run=run)

    def call(rows: list[Any], questions: list[Any] | None = None, **changes: Any) -> ValidateResult:
        config = make_config(tmp_path, base_model, rows, questions, **changes)
        context = StageContext(places, None, ProgressBoard("Validate"))  # type: ignore[arg-type]
        return examine(config, context).result

    return call
