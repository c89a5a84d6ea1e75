"""Checkpoints in a real S3 store with Object Lock: nobody takes them away, and what hides them hides nothing from us."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.ledgers import Clock, Store, entry, new_key, sealed_ledger
from tests.support.object_store import ObjectStore, running_store, secret
from tunegate.api.conditions import rfc3339
from tunegate.errors import Terminal, Transient
from tunegate.ledger.anchors.anchoring import Checkpoints
from tunegate.ledger.anchors.bucket import BucketAnchor
from tunegate.ledger.anchors.places import Checkpoint, read_folder
from tunegate.ledger.anchors.s3 import Bucket
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter
from tunegate.store_access import StoreAccess

KEY = new_key()
RING = KeyRing(KEY)
BUCKET = "anchors"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_store(tmp_path_factory.mktemp("s3"), versions=True) as running:
        client_of(running).ask("PUT", "", headers={"x-amz-bucket-object-lock-enabled": "true"})
        client_of(running, "plain").ask("PUT", "")
        yield running


def client_of(store: ObjectStore, bucket: str = BUCKET) -> Bucket:
    """The store's own user: nobody may do more."""
    found = secret(store.url)
    scheme, _, host = store.url.partition("://")
    access = StoreAccess(scheme, host, found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])
    return Bucket(bucket, access, None)


@pytest.fixture
def mounted(store: ObjectStore, tmp_path: Path) -> Path:
    """The Secret as it is mounted."""
    folder = tmp_path / "secret"
    folder.mkdir()
    for name, value in secret(store.url).items():
        (folder / name).write_text(value + "\n")
    return folder


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"{abs(hash(request.node.name))}/"


async def checkpoint(length: int = 3) -> Checkpoint:
    records = (await sealed_ledger(RING, (length,))).records
    return Checkpoint.of(records[-1]["spec"]["payload"]["envelope"])


@pytest.mark.attack(29, 38)
async def test_checkpoint_is_locked_and_the_stores_own_user_cannot_delete_it(
    store: ObjectStore, mounted: Path, prefix: str
) -> None:
    made = await checkpoint()
    await BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2)).keep(made)
    client, key = client_of(store), prefix + made.name
    held = client.head(key)
    assert held is not None
    assert held["x-amz-object-lock-mode"] == "COMPLIANCE"
    until = datetime.fromisoformat(held["x-amz-object-lock-retain-until-date"])
    assert until > datetime.now(UTC) + timedelta(days=1)
    version, bypass = held["x-amz-version-id"], {"x-amz-bypass-governance-retention": "true"}
    with pytest.raises(Transient, match="AccessDenied"):
        client.ask("DELETE", key, {"versionId": version}, headers=bypass)
    sooner = rfc3339(datetime.now(UTC) + timedelta(hours=1))
    shorter = f"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{sooner}</RetainUntilDate></Retention>".encode()
    with pytest.raises(Transient, match="the store answers"):
        client.ask("PUT", key, {"retention": "", "versionId": version}, content=shorter, headers=bypass)
    assert [client.get(one).decode() for one in client.versions(key)] == [made.text]


@pytest.mark.attack(29, 38)
async def test_delete_marker_and_newer_version_hide_no_checkpoint(
    store: ObjectStore, mounted: Path, prefix: str
) -> None:
    made, anchor = await checkpoint(), BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2))
    await anchor.keep(made)
    client = client_of(store)
    client.put(prefix + made.name, b"nothing", {})
    client.ask("DELETE", prefix + made.name)
    assert client.head(prefix + made.name) is None
    assert made.text in [one.text for one in await anchor.read()]


async def test_keeping_again_makes_no_further_version(store: ObjectStore, mounted: Path, prefix: str) -> None:
    made, anchor = await checkpoint(), BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2))
    for _ in range(2):
        await anchor.keep(made)
    assert [one.key for one in client_of(store).versions(prefix)] == [prefix + made.name]


async def test_bucket_without_object_lock_is_refused(mounted: Path, prefix: str) -> None:
    with pytest.raises((Transient, Terminal), match="plain"):
        await BucketAnchor("plain", prefix, mounted, timedelta(days=2)).keep(await checkpoint())


async def test_wrong_key_and_missing_setting_are_named_and_no_secret_is_told(mounted: Path, prefix: str) -> None:
    anchor = BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2))
    (mounted / "AWS_SECRET_ACCESS_KEY").write_text("Wrong-0000")
    with pytest.raises(Transient, match="bucket anchors: the store answers") as caught:
        await anchor.read()
    assert "Wrong-0000" not in str(caught.value)
    (mounted / "AWS_SECRET_ACCESS_KEY").unlink()
    with pytest.raises(Terminal, match="lacks AWS_SECRET_ACCESS_KEY"):
        await anchor.read()


@pytest.mark.attack(29, 38)
async def test_ledger_behind_the_bucket_appends_nothing(mounted: Path, prefix: str) -> None:
    longer = (await sealed_ledger(RING, (3, 3))).records
    anchor = BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2))
    await anchor.keep(Checkpoint.of(longer[-1]["spec"]["payload"]["envelope"]))
    cut = Store()
    cut.objects = {one["metadata"]["name"]: one for one in longer[:4]}
    with pytest.raises(Terminal, match="rolled back"):
        await LedgerWriter(cut, Clock(), anchors=anchor.read, keys=RING.publics).append(entry(90))


async def test_store_that_is_down_at_start_delays_appending_and_comes_back(mounted: Path, prefix: str) -> None:
    address = (mounted / "AWS_ENDPOINT_URL").read_text()
    (mounted / "AWS_ENDPOINT_URL").write_text("http://127.0.0.1:9")
    anchor = BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2))
    writer = LedgerWriter(await sealed_ledger(RING, (3,)), Clock(), anchors=anchor.read, keys=RING.publics)
    with pytest.raises(Transient, match="bucket anchors"):
        await writer.append(entry(90))
    assert len(await writer.of_subject("uid-0")) == 1
    (mounted / "AWS_ENDPOINT_URL").write_text(address)
    assert (await writer.append(entry(90))).sequence == 5


async def test_what_was_downloaded_from_the_bucket_verifies_as_a_folder(
    store: ObjectStore, mounted: Path, prefix: str, tmp_path: Path
) -> None:
    ledger = await sealed_ledger(RING, (3,))
    writer, anchor = LedgerWriter(ledger, Clock()), BucketAnchor(BUCKET, prefix, mounted, timedelta(days=2))
    await Checkpoints(writer, RING, [anchor], records=1, age=timedelta(days=1)).look()
    client = client_of(store)
    for one in client.versions(prefix):
        target = tmp_path / "copy" / one.key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(client.get(one))
    anchors = read_folder(tmp_path / "copy")
    assert len(anchors) == 1
    assert verify(ledger.records, keys=RING.publics, anchors=anchors).problems == ()
