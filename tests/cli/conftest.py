"""What all tests of this folder share: the governed namespace with a job that passed its gate, a terminal, the smart card."""

from __future__ import annotations

import pytest

from tests.support.command_line import Cli
from tests.support.governed_namespace import World, world
from tests.support.release_cluster import catalogue, job, registry, settle, settle_signed
from tests.support.software_token import token

__all__ = ["catalogue", "job", "registry", "settle", "settle_signed", "token", "world"]


@pytest.fixture
def cli(world: World, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(world, capsys)
