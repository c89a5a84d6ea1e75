"""The operator's settings become a key that signs, anchors and a public key for auditors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.ledgers import Clock, Store, entry, new_key, new_key_pem, sealed_ledger
from tests.support.operator_settings import set_settings
from tunegate.errors import Terminal
from tunegate.keys import PublicKey
from tunegate.ledger.anchors.places import read_folder
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter
from tunegate.maintenance import ledger_key
from tunegate.runtime.services import connected
from tunegate.settings import Settings

IMAGES = {"TRAINER_IMAGE": "t", "OPERATOR_IMAGE": "o", "REGISTRY_HOST": "registry.invalid"}


def settings(**more: Any) -> Settings:
    return Settings(trainer_image="t", operator_image="o", registry_host="registry.invalid", **more)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "key.pem").write_bytes(new_key_pem())
    return folder


async def test_checkpoints_go_to_the_anchor_folder(keys: Path, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    store: Any = Store()
    async with connected(settings(ledger_keys=keys, anchor_folder=anchors), store) as (services, _, checkpoints):
        assert checkpoints is not None
        await services.ledger.append(entry(0))
        await checkpoints.look()
    public = KeyRing.from_folder(keys).key.public
    kept = read_folder(anchors)
    assert [anchor.name[:22] for anchor in kept] == ["checkpoint-0000000001-"]
    assert verify(store.records, keys=[public], anchors=kept).problems == ()


async def test_operator_that_finds_its_ledger_rolled_back_appends_nothing(keys: Path, tmp_path: Path) -> None:
    ring, store = KeyRing.from_folder(keys), Store()
    longer = await sealed_ledger(ring, (2, 2))
    text = longer.records[-1]["spec"]["payload"]["envelope"]
    (tmp_path / "checkpoint-0000000005.json").write_text(text)
    store.objects = {one["metadata"]["name"]: one for one in longer.records[:3]}
    rolled_back: Any = store
    async with connected(settings(ledger_keys=keys, anchor_folder=tmp_path), rolled_back) as (services, _, _):
        with pytest.raises(Terminal, match="rolled back"):
            await services.ledger.append(entry(9))


async def test_without_a_key_nothing_is_signed_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    store: Any = Store()
    async with connected(settings(), store) as (_, _, checkpoints):
        assert checkpoints is None
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(Terminal, match=r"key\.pem: not an ECDSA P-256 or Ed25519 key"):
        async with connected(settings(ledger_keys=tmp_path), store):
            raise AssertionError("connected with a wrong key")


def test_the_public_key_is_printed_for_auditors_and_nothing_else(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_settings(monkeypatch, {**IMAGES, "LEDGER_KEYS": str(keys)})
    assert ledger_key.main() == 0
    said = capsys.readouterr()
    public = PublicKey.from_pem(said.out.encode())
    assert said.err == f"key {public.id}\n"
    monkeypatch.delenv("TUNEGATE_LEDGER_KEYS")
    assert ledger_key.main() == 1
    assert "signs no checkpoints" in capsys.readouterr().err


async def test_rotation_by_files_hands_over_and_is_not_done_twice(keys: Path) -> None:
    old = KeyRing.from_folder(keys)
    store = await sealed_ledger(old, (2,))
    (keys / "key.pem").rename(keys / "previous.pem")
    (keys / "key.pem").write_bytes(new_key_pem())
    ring = KeyRing.from_folder(keys)
    for _ in range(2):
        await LedgerWriter(store, Clock()).seal(ring)
    assert [one["spec"]["type"] for one in store.records][2:] == ["CheckpointSigned", "KeyRotated"]
    assert verify(store.records, keys=[ring.key.public]).problems == ()
    assert verify(store.records, keys=[new_key().public]).problems != ()
