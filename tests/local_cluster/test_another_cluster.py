"""`CLUSTER=current`: the demo on a cluster that one has. The local one plays it, with another path of its registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import USERS
from tunegate_demo.cluster import connect
from tunegate_demo.failure import DemoFailure
from tunegate_demo.screen import Screen
from tunegate_local import settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("tests the local cluster itself"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An administrator's environment, as the README names it."""
    for name in ("REGISTRY", "KUBECONFIG", "CONFIRM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLUSTER", "current")
    return monkeypatch


def test_nothing_happens_before_it_is_said_where_and_confirmed(
    current: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DemoFailure, match="needs KUBECONFIG and REGISTRY"):
        connect(Screen(13))
    current.setenv("KUBECONFIG", str(USERS / "platform-admin.kubeconfig"))
    current.setenv("REGISTRY", "registry.example/team")
    with pytest.raises(DemoFailure, match="nothing was installed yet"):
        connect(Screen(13))
    assert "Will be installed: CRDs of tunegate.io" in capsys.readouterr().out


def test_images_go_to_the_named_registry_and_people_are_impersonated(current: pytest.MonkeyPatch) -> None:
    registry = f"{settings.LOOPBACK}:{settings.REGISTRY_PORT}/elsewhere"
    current.setenv("KUBECONFIG", str(USERS / "platform-admin.kubeconfig"))
    current.setenv("REGISTRY", registry)
    current.setenv("CONFIRM", "yes")

    found = connect(Screen(13))

    assert {"operator", "trainer", "mlflow", "registry"} <= found.images.keys()
    assert all(reference.startswith(f"{registry}/") and "@sha256:" in reference for reference in found.images.values())
    own = json.loads((Path(settings.CACHE) / "images.json").read_text())
    assert own["trainer"] != found.images["trainer"]
    assert "erin" in found.user("engineer").run("auth", "whoami")
    assert not found.local
