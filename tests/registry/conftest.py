"""Fixtures of the registry's tests: a real registry for a file, and a client for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.registry_process import RunningRegistry, running_registry
from tunegate.registry.client import RegistryClient


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def client(registry: RunningRegistry) -> Iterator[RegistryClient]:
    with RegistryClient(registry.host, plain_http=True) as made:
        yield made
