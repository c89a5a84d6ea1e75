"""What the registry holds that nobody names: listed, deleted and freed, with a real registry and a real API server.

Nothing that a record or an object names may go, and where that cannot be told, nothing at all.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_finetunejob, make_modelrelease
from tests.support.chart_registry import ChartRegistry
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import World
from tests.support.ledgers import new_key_pem
from tests.support.operator_settings import operator_environment
from tests.support.registry_process import collect_garbage
from tunegate.api.auditrecord import EventType
from tunegate.api.markers import API_VERSION
from tunegate.api.stage.layout import (
    ADAPTER_MEDIA_TYPE,
    ANSWERS_MEDIA_TYPE,
    RESULT_MEDIA_TYPE,
    STATEMENT_MEDIA_TYPE,
)
from tunegate.cli.doctor import room
from tunegate.digests import sha256
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.naming import job_repository, statement_repository
from tunegate.registry import referrers
from tunegate.registry.artifact import MANIFEST_TYPE, Artifact, Layer
from tunegate.registry.stored import ROOM_CONFIG_MAP, Room
from tunegate.registry_volume import Mounted, serve
from tunegate.runtime import metrics
from tunegate.runtime.registry_room import RoomWatch

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(600),
]
Json = dict[str, Any]
TEAM = "licenses-team"
MEMBERS = (Member("admin", "tunegate-admin", ("system:masters",)),)
NOTE = "application/vnd.example.signature"
GONE = "9f9f9f9f-1111-2222-3333-444455556666"
OLD = 30.0


@dataclass
class Site:
    """One installation. ``named`` and ``unused`` are places (`repository@digest`) of its registry."""

    plane: ControlPlane
    registry: ChartRegistry
    folder: Path
    volume_url: str = ""
    named: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as in the operator's pod."""
        settings = {
            "TRAINER_IMAGE": "t", "OPERATOR_IMAGE": "o", "GOVERNED": json.dumps([{"name": TEAM, "policy": "p"}]),
            "REGISTRY_HOST": self.registry.host, "REGISTRY_PLAIN_HTTP": "true", "KUBECONFIG": self.plane.kubeconfig("admin"),
            "REGISTRY_TOKEN_KEY": str(self.registry.key), "REGISTRY_TOKEN_CERT": str(self.registry.certificate),
            "REGISTRY_VOLUME_URL": self.volume_url, "LEDGER_KEYS": str(self.folder / "keys"),
            "ANCHOR_FOLDER": str(self.folder / "anchors"),
        }  # fmt: skip
        command = [sys.executable, "-m", "tunegate.maintenance.registry_space", *arguments]
        environment = operator_environment(settings)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def look(self, *arguments: str) -> Json:
        """Return the dry run."""
        done = self.run("--output", "json", *arguments)
        assert done.returncode == 0, done.stderr
        found: Json = json.loads(done.stdout)
        return found

    def places(self, found: Json) -> set[str]:
        """Return what a dry run lists."""
        return {f"{one['repository']}@{one['digest']}" for one in found["unused"]}

    def there(self, place: str) -> bool:
        """Tell whether the registry still has a manifest."""
        repository, digest = place.split("@")
        with self.registry.client() as client:
            return client.exists(repository, digest)

    def records(self, type_: EventType) -> list[Json]:
        """Return the payloads of all records of a type."""

        async def read() -> list[Json]:
            async with await KubeClient.connect(self.plane.kubeconfig("admin")) as kube:
                found = await kube.list(API_VERSION, "AuditRecord")
                return [one["spec"]["payload"] for one in found if one["spec"]["type"] == type_]

        return asyncio.run(read())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "plane").mkdir()
    (tmp_path / "anchors").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/key.pem").write_bytes(new_key_pem())
    registry = ChartRegistry(tmp_path / "registry")
    with running_control_plane(tmp_path / "plane", MEMBERS) as plane:
        world = World(TEAM, "tunegate-system", plane.kubeconfig)
        install_definitions(plane)
        for namespace in (world.namespace, world.system):
            world.kubectl("admin", "create", "namespace", namespace).passes()
        server = serve(Mounted(registry.storage, registry.certificate, tls=None), port=0)
        made = Site(plane, registry, tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
        try:
            with registry.running(), ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, fill(made)).result()
            yield made
        finally:
            server.shutdown()
            server.server_close()


async def fill(site: Site) -> None:
    """Make a job that ended, one on its way, one that is deleted, and a release, with what their stages push."""
    async with await KubeClient.connect(site.plane.kubeconfig("admin")) as kube:
        ledger = LedgerWriter(kube)
        ended, running = [await kube.create(make_finetunejob(name, TEAM)) for name in ("ended", "running")]
        release = await kube.create(make_modelrelease("release", TEAM))
        with site.registry.client() as client:

            def push(key: str, repository: str, content: bytes, kind: str, *, named: bool) -> str:
                digest = client.push_document(repository, content, kind)
                (site.named if named else site.unused)[key] = f"{repository}@{digest}"
                return digest

            own = job_repository(TEAM, "ended", ended["metadata"]["uid"])
            answers = push("answers", f"{own}/answers", b"answers\n" * 999, ANSWERS_MEDIA_TYPE, named=True)
            result = json.dumps({"answersDigest": answers}).encode()
            digest = push("result", f"{own}/results", result, RESULT_MEDIA_TYPE, named=True)
            push("lost attempt", f"{own}/results", b'{"attempt": 1}', RESULT_MEDIA_TYPE, named=False)
            adapter = push("adapter", f"{own}/adapter", b"numbers" * 999, ADAPTER_MEDIA_TYPE, named=True)
            for text in (b"first", b"second"):
                subject = Layer(MANIFEST_TYPE, adapter, len(client.pull_manifest(f"{own}/adapter", adapter)))
                note = Artifact(NOTE, (Layer(NOTE, sha256(text), len(text)),), subject)
                signature = referrers.attach(client, f"{own}/adapter", note, text)
                site.named[f"signature {text!r}"] = f"{own}/adapter@{signature}"
            stages = [{"name": "Evaluate", "state": "Done", "attempt": 2, "resultDigest": digest}]
            status = {"phase": "Succeeded", "stages": stages}
            await kube.apply(_with_status(ended, status), subresource="status")

            other = job_repository(TEAM, "running", running["metadata"]["uid"])
            push("on its way", f"{other}/results", b'{"running": 1}', RESULT_MEDIA_TYPE, named=True)
            await kube.apply(_with_status(running, {"phase": "Training"}), subresource="status")

            gone = job_repository(TEAM, "gone", GONE)
            rows = push("answers of a deleted job", f"{gone}/answers", b"rows" * 5000, ANSWERS_MEDIA_TYPE, named=False)
            result = json.dumps({"answersDigest": rows}).encode()
            recorded = push("recorded", f"{gone}/results", result, RESULT_MEDIA_TYPE, named=True)
            push("baseline", f"{gone}/results", b'{"baseline": 1}', RESULT_MEDIA_TYPE, named=True)

            where = statement_repository(TEAM, "release", release["metadata"]["uid"])
            baseline = site.named["baseline"].split("@")[1]
            text = json.dumps({"adapter": adapter, "baseline": baseline}).encode()
            statement = push("statement", where, text, STATEMENT_MEDIA_TYPE, named=True)
            push("pushed", f"{TEAM}/datasets/rows", b"rows", "application/vnd.tunegate.pushed-part.v1", named=True)
            push("young", f"{gone}/results", b'{"young": 1}', RESULT_MEDIA_TYPE, named=True)
            push("stranger", "not-governed/job-0a1b2c3d/results", b'{"stranger": 1}', RESULT_MEDIA_TYPE, named=True)
        site.registry.age(OLD)
        site.registry.age(1.5, site.named["young"].split("@")[1])
        about = AuditSubject("FineTuneJob", TEAM, "gone", GONE)
        await ledger.append(AuditEntry("JobFinished", "o", about, "end", {"EvaluateResult": recorded}))
        about = AuditSubject("ModelRelease", TEAM, "release", release["metadata"]["uid"])
        await ledger.append(
            AuditEntry("ReleaseRequested", "o", about, "s", {"statement": statement, "adapter": adapter})
        )


def _with_status(obj: Json, status: Json) -> Json:
    metadata = {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "status": status}


def test_what_nobody_names_is_listed_deleted_and_freed_and_nothing_else(site: Site) -> None:
    with site.registry.running():
        found = site.look()
        listed = site.places(found)
        older = listed - set(site.unused.values())
        assert set(site.unused.values()) <= listed
        assert [one["why"] for one in found["unused"] if f"{one['repository']}@{one['digest']}" in older] == [
            "an older list of referrers"
        ]
        assert not listed & set(site.named.values())
        assert (found["young"], found["ungoverned"], found["broken"]) == (1, 1, [])
        assert site.look("--older-than-days", "1")["young"] == 0

        text = site.run().stdout
        assert f"list {found['list']}" in text
        assert "its job took another attempt" in text
        assert "no record and no object names it" in text
        assert all(place in text for place in listed)

        refused = site.run("--delete", found["list"], "--by", "ada")
        assert refused.returncode == 1
        assert "set registry.maintenance=Delete" in refused.stderr
        assert site.records("RegistryContentDeleted") == []

    with site.registry.running("Delete"):
        other = site.run("--delete", "sha256:" + "1" * 64, "--by", "ada")
        assert (other.returncode, "look at it again" in other.stderr) == (1, True)
        assert all(map(site.there, listed)), "another list than was seen deletes nothing"

        done = site.run("--delete", found["list"], "--by", "ada")
        assert done.returncode == 0, done.stderr
        assert not any(map(site.there, listed))
        assert all(map(site.there, site.named.values()))

    (record,) = site.records("RegistryContentDeleted")
    assert set(" ".join(value for key, value in record.items() if key.startswith("deleted-")).split()) == listed
    assert (record["list"], record["startedBy"], record["bytes"]) == (found["list"], "ada", str(found["bytes"]))

    with site.registry.volume() as volume:
        before = volume.room().unreferenced
    assert before >= found["bytes"] > 20_000
    with site.registry.running("Collect"):
        pass  # Writes its configuration: the chart's first container runs before it, with the same one.
    collect_garbage(site.registry.folder)
    with site.registry.volume() as volume:
        assert volume.room().unreferenced == 0
    with site.registry.running(), site.registry.client() as client:
        for place in site.named.values():
            client.pull_document(*place.split("@"))
        assert site.look()["unused"] == []


async def test_how_full_it_is_is_measured_and_written_down_for_doctor(site: Site) -> None:
    with site.registry.running(), site.registry.volume() as volume:
        async with await KubeClient.connect(site.plane.kubeconfig("admin")) as kube:
            seen = await RoomWatch(volume, kube, "tunegate-system").look()
            written = await kube.get(ObjectRef("v1", "ConfigMap", ROOM_CONFIG_MAP, "tunegate-system"))
    assert written is not None
    assert Room.model_validate_json(written["data"]["room.json"]) == seen
    assert room.judge(written, datetime.now(UTC)).state == ("OK" if seen.used_percent < 80 else "WARN")
    measured = metrics.REGISTRY.get_sample_value("tunegate_registry_namespace_bytes", {"namespace": TEAM})
    assert measured == seen.namespaces[TEAM] > 20_000
    assert metrics.REGISTRY.get_sample_value("tunegate_registry_bytes", {"state": "total"}) == seen.total


@contextmanager
def unparsable_job(site: Site) -> Iterator[str]:
    folder = f"/registry/tunegate.io/finetunejobs/{TEAM}/"
    before = site.plane.etcd.under(folder)[f"{folder}running"]
    site.plane.etcd.write(f"{folder}running", json.dumps({**json.loads(before), "status": {"phase": "Odd"}}).encode())
    yield "FineTuneJob licenses-team/running cannot be read"
    site.plane.etcd.write(f"{folder}running", before)


@contextmanager
def altered_record(site: Site) -> Iterator[str]:
    folder = "/registry/tunegate.io/auditrecords/"
    before = site.plane.etcd.under(folder)[f"{folder}audit-0000000001"]
    altered = json.loads(before)
    altered["spec"]["payload"] = {}
    site.plane.etcd.write(f"{folder}audit-0000000001", json.dumps(altered).encode())
    yield "the ledger does not verify"
    site.plane.etcd.write(f"{folder}audit-0000000001", before)


@contextmanager
def unreadable_statement(site: Site) -> Iterator[str]:
    digest = site.named["statement"].split("@")[1].removeprefix("sha256:")
    file = site.registry.storage / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    before = file.read_bytes()
    file.unlink()
    yield "its bytes are missing on the volume"
    file.write_bytes(before)


@contextmanager
def silent_volume(site: Site) -> Iterator[str]:
    before, site.volume_url = site.volume_url, site.volume_url.rsplit(":", 1)[0] + ":9"
    yield "ConnectError"
    site.volume_url = before


def test_where_it_cannot_be_told_who_names_what_nothing_is_deleted(site: Site) -> None:
    with site.registry.running("Delete"):
        found = site.look()
        for fault in (unparsable_job, altered_record, unreadable_statement, silent_volume):
            with fault(site) as why:
                done = site.run("--delete", found["list"], "--by", "ada")
                assert (done.returncode, done.stdout) == (1, ""), fault.__name__
                assert done.stderr.startswith("nothing was deleted: "), fault.__name__
                assert why in done.stderr, done.stderr
        assert all(map(site.there, site.unused.values()))
        assert site.records("RegistryContentDeleted") == []
        assert site.look()["list"] == found["list"]
