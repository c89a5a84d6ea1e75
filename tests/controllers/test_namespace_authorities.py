"""What pods of governed namespaces need is handed on to them by the operator, on a real API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import NamespaceFactory
from tests.support.recording_client import Memory
from tunegate.controllers.namespace_authorities import NamespaceAuthorities
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.settings import GovernedNamespace, Settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(60)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What the operator has mounted."""
    (tmp_path / "ca.crt").write_text("authorities\n")
    return tmp_path


def namespace_authorities(
    kube: KubeClient, files: Path, *governed: str, ledger: Memory | None = None
) -> NamespaceAuthorities:
    settings = Settings(
        trainer_image="t",
        operator_image="o",
        registry_host="registry.invalid",
        governed=tuple(GovernedNamespace(name=name, policy="none") for name in governed),
        ca_file=files / "ca.crt",
    )
    return NamespaceAuthorities(kube, settings, ledger or Memory())


async def authorities(kube: KubeClient, namespace: str) -> str:
    live = await kube.get(ObjectRef("v1", "ConfigMap", "tunegate-ca", namespace))
    assert live is not None
    assert live["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tunegate"
    return str(live["data"]["ca.crt"])


async def test_each_namespace_gets_the_authorities_and_no_password(
    kube: KubeClient, namespaces: NamespaceFactory, files: Path
) -> None:
    teams = [await namespaces("a"), await namespaces("b")]
    assert await namespace_authorities(kube, files, *teams).try_deliver()
    for team in teams:
        assert await authorities(kube, team) == "authorities\n"
        assert await kube.list("v1", "Secret", team) == []


async def test_a_new_authority_is_handed_on(kube: KubeClient, namespace: str, files: Path) -> None:
    ours = namespace_authorities(kube, files, namespace)
    assert await ours.try_deliver()
    (files / "ca.crt").write_text("others\n")
    assert await ours.try_deliver()
    assert await authorities(kube, namespace) == "others\n"


async def test_what_somebody_changed_or_helm_left_is_put_right(kube: KubeClient, namespace: str, files: Path) -> None:
    metadata = {"name": "tunegate-ca", "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": "forged"}})
    assert await namespace_authorities(kube, files, namespace).try_deliver()
    assert await authorities(kube, namespace) == "authorities\n"


async def test_a_namespace_that_is_not_there_holds_up_no_other(
    kube: KubeClient, namespace: str, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await namespace_authorities(kube, files, "t-not-there", namespace).try_deliver()
    assert await authorities(kube, namespace) == "authorities\n"
    assert "pods of t-not-there may not reach the registry" in caplog.text
