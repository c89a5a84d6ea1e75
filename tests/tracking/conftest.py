"""One MLflow server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tracking.mlflow_process import MlflowServer
from tunegate.tracking.mlflow import Login, Tracking


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server that runs; a test that stops it starts it again."""
    server = MlflowServer.prepare(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def tracking(server: MlflowServer) -> Tracking:
    """The operator's client."""
    login = Login(server.folder / "username", server.folder / "password")
    return Tracking(server.uri, login=login, ca_file=server.ca_file)
