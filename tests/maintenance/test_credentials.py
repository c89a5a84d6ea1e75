"""The hook of the chart on a real API server, with exactly the rights that the chart gives it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from tests.maintenance.test_authority import greet
from tests.support import helm
from tests.support.accounts import Accounts
from tests.support.ledgers import new_key_pem
from tests.support.waiting import Cluster
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.kube.errors import Refused
from tunegate.ledger.seal import KeyRing
from tunegate.maintenance.authority import Pair

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
ALL = ("--server=registry", "--server=mlflow", "--server=exchange", "--ledger-key")
SECRETS = {
    "tunegate-ca", "tunegate-registry-tls", "tunegate-mlflow-tls", "tunegate-registry-token", "tunegate-mlflow-users",
    "tunegate-ledger-key", "tunegate-exchange-tls",
}  # fmt: skip
COUNTED_KINDS = "tunegate.maintenance.counted_kinds"
Json = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """A namespace that Tunegate is to be installed in, and its hook's own credential."""

    kube: KubeClient
    namespace: str
    kubeconfig: str

    def run(
        self, *arguments: str, module: str = "tunegate.maintenance.credentials"
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the hook."""
        command = [sys.executable, "-m", module, f"--namespace={self.namespace}", *arguments]
        command.append(f"--kubeconfig={self.kubeconfig}")
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}/operator"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    async def content(self, name: str) -> dict[str, bytes]:
        """Return what a Secret holds; nothing where there is none."""
        live = await self.kube.get(ObjectRef("v1", "Secret", name, self.namespace))
        return {key: base64.b64decode(value) for key, value in ((live or {}).get("data") or {}).items()}

    async def contents(self) -> dict[str, dict[str, bytes]]:
        """Return what all Secrets of the namespace hold."""
        return {
            obj["metadata"]["name"]: await self.content(obj["metadata"]["name"])
            for obj in await self.kube.list("v1", "Secret", self.namespace)
        }

    async def trusted(self) -> str:
        """Return the authorities that pods of the namespace trust."""
        live = await self.kube.get(ObjectRef("v1", "ConfigMap", "tunegate-ca", self.namespace))
        assert live is not None
        return str(live.get("data", {}).get("ca.crt", ""))


@pytest.fixture
async def site(kube: KubeClient, namespace: str, accounts: Accounts) -> Site:
    for kind in ("Role", "RoleBinding"):
        rendered = helm.one(helm.render(helm.values()), kind, "tunegate-credentials")
        await kube.create({**rendered, "metadata": {"name": "tunegate-credentials", "namespace": namespace}})
    # The chart's binding names the account of the chart's own namespace, and this credential carries that name.
    account = f"system:serviceaccount:{helm.SYSTEM}:tunegate-credentials"
    return Site(kube, namespace, str(accounts.named(account)))


async def test_everything_that_is_missing_is_made_once_and_works_together(site: Site, tmp_path: Path) -> None:
    done = site.run(*ALL)
    assert done.returncode == 0, done.stderr
    made = await site.contents()
    assert set(made) == SECRETS
    assert KeyRing.from_folder(_written(tmp_path, made["tunegate-ledger-key"])).key.public.of_a_curve
    assert set(made["tunegate-mlflow-users"]) == {"session-key", "operator", "exchange"}
    assert len(set(made["tunegate-mlflow-users"].values())) == 3
    authority = _pair(made["tunegate-ca"])
    for server in ("tunegate-registry", "tunegate-mlflow", "tunegate-exchange"):
        greet(tmp_path, authority, _pair(made[f"{server}-tls"]), f"{server}.{site.namespace}.svc")
    assert await site.trusted() == made["tunegate-ca"]["tls.crt"].decode()

    again = site.run(*ALL)
    assert (again.returncode, again.stdout) == (0, "nothing was missing\n"), again.stderr
    assert await site.contents() == made


async def test_nothing_of_a_key_or_password_is_printed(site: Site) -> None:
    done = site.run(*ALL)
    assert "made Secret tunegate-ledger-key" in done.stdout
    lines = [
        line
        for content in (await site.contents()).values()
        for value in content.values()
        for line in value.decode().splitlines()
        if len(line) > 16 and not line.startswith("-----")
    ]
    assert len(lines) > 20
    assert not [line for line in lines if line in done.stdout + done.stderr]


async def test_what_exists_is_kept_to_the_byte(site: Site) -> None:
    """A rotation under way, and an MLflow without one of its passwords."""
    rotating = {"key.pem": new_key_pem(), "previous.pem": new_key_pem()}
    known = {"session-key": b"s", "operator": b"o"}
    for name, content in (("tunegate-ledger-key", rotating), ("tunegate-mlflow-users", known)):
        data = {key: base64.b64encode(value).decode() for key, value in content.items()}
        metadata = {"name": name, "namespace": site.namespace}
        await site.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    assert site.run(*ALL).returncode == 0
    assert await site.content("tunegate-ledger-key") == rotating
    users = await site.content("tunegate-mlflow-users")
    assert len(users.pop("exchange")) >= 32
    assert users == known


async def test_only_what_the_values_ask_for_is_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site.pem").write_text("a certificate of the site\n")
    done = site.run(f"--authorities={tmp_path / 'site.pem'}")
    assert done.returncode == 0, done.stderr
    assert await site.contents() == {}
    assert await site.trusted() == "a certificate of the site\n"
    # Helm would delete what an older chart had in its manifest.
    live = await site.kube.get(ObjectRef("v1", "ConfigMap", "tunegate-ca", site.namespace))
    assert live is not None
    assert live["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"

    (tmp_path / "site.pem").write_text("another one\n")
    done = site.run("--server=registry", f"--authorities={tmp_path / 'site.pem'}")
    assert set(await site.contents()) == {"tunegate-ca", "tunegate-registry-tls", "tunegate-registry-token"}
    own = (await site.content("tunegate-ca"))["tls.crt"].decode()
    assert await site.trusted() == f"{own}another one\n"


async def test_a_renewed_certificate_is_of_the_same_authority(site: Site, tmp_path: Path) -> None:
    assert site.run(*ALL).returncode == 0
    before = await site.contents()
    await site.kube.delete(ObjectRef("v1", "Secret", "tunegate-mlflow-tls", site.namespace))
    assert site.run(*ALL).stdout == "made Secret tunegate-mlflow-tls\n"
    after = await site.contents()
    assert after.pop("tunegate-mlflow-tls") != before.pop("tunegate-mlflow-tls")
    assert after == before
    renewed = _pair(await site.content("tunegate-mlflow-tls"))
    greet(tmp_path, _pair(after["tunegate-ca"]), renewed, "tunegate-mlflow")


async def test_certificates_of_an_authority_that_is_gone_are_refused(site: Site) -> None:
    assert site.run(*ALL).returncode == 0
    await site.kube.delete(ObjectRef("v1", "Secret", "tunegate-ca", site.namespace))
    for _ in range(2):
        done = site.run(*ALL)
        assert done.returncode == 1
        assert "Secret tunegate-registry-tls is of an authority that is gone" in done.stderr
        assert "delete tunegate-registry-tls too" in done.stderr
    assert not await site.content("tunegate-ca")


@pytest.mark.attack(30)
async def test_who_makes_the_keys_of_ledger_and_registry_cannot_read_or_change_them(site: Site) -> None:
    assert site.run(*ALL).returncode == 0
    async with await KubeClient.connect(site.kubeconfig) as hook:
        for name in ("tunegate-ledger-key", "tunegate-registry-token"):
            ref = ObjectRef("v1", "Secret", name, site.namespace)
            with pytest.raises(Refused, match="cannot get"):
                await hook.get(ref)
            with pytest.raises(Refused, match="cannot delete"):
                await hook.delete(ref)
        for name in SECRETS - {"tunegate-mlflow-users"}:
            live = await site.kube.get(ObjectRef("v1", "Secret", name, site.namespace))
            assert live is not None
            with pytest.raises(Refused, match="cannot update"):
                await hook.replace(live)
        with pytest.raises(Refused, match="cannot list"):
            await hook.list("v1", "Secret", site.namespace)


def _pair(content: dict[str, bytes]) -> Pair:
    return Pair.from_pem(content["tls.crt"], content["tls.key"])


def _written(folder: Path, content: dict[str, bytes]) -> Path:
    place = folder / "keys"
    place.mkdir()
    for name, value in content.items():
        (place / name).write_bytes(value)
    return place


@pytest.fixture
async def new_kind(kube: KubeClient) -> AsyncIterator[str]:
    """A kind that Kubernetes does not count yet, as ``plural.group``."""
    plural, group = f"things{token_hex(3)}", "things.example.org"
    names = {"plural": plural, "singular": plural[:-1], "kind": plural.capitalize()}
    schema = {"openAPIV3Schema": {"type": "object"}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced", "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }  # fmt: skip
    await kube.create(crd)
    yield f"{plural}.{group}"
    await kube.delete(ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}"))


async def test_a_quota_that_is_made_after_the_hook_counts_a_new_kind_at_once(
    site: Site, kube: KubeClient, new_kind: str
) -> None:
    done = site.run(f"--kind={new_kind}", module=COUNTED_KINDS)
    assert done.returncode == 0, done.stderr
    assert await kube.list("v1", "ResourceQuota", site.namespace) == []
    quota = ObjectRef("v1", "ResourceQuota", "objects", site.namespace)
    metadata = {"name": quota.name, "namespace": quota.namespace}
    hard = {f"count/{new_kind}": "5"}
    await kube.create({"apiVersion": "v1", "kind": quota.kind, "metadata": metadata, "spec": {"hard": hard}})

    expected = {f"count/{new_kind}": "0"}
    await Cluster(kube).until(quota, lambda live: live["status"].get("used") == expected, what="counted", seconds=10)


async def test_kinds_that_are_never_counted_fail_the_hook_with_what_to_do(site: Site, kube: KubeClient) -> None:
    done = site.run("--kind=nothings.example.org", "--seconds=5", module=COUNTED_KINDS)
    assert done.returncode == 1
    assert "does not count count/nothings.example.org after 5 s" in done.stderr
    assert "quotas.perNamespace={}" in done.stderr
    assert await kube.list("v1", "ResourceQuota", site.namespace) == []
