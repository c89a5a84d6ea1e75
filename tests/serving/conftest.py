"""A real registry, and a workshop for adapters in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.sealed_adapter import Bench, lora_weights
from tunegate.registry.client import RegistryClient


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, registry: RunningRegistry) -> Iterator[Bench]:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{}")
    (tmp_path / "base/model.safetensors").write_bytes(lora_weights(1.0))
    with RegistryClient(registry.host, plain_http=True) as client:
        yield Bench(tmp_path, registry, client)
