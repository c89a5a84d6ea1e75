"""A ledger that etcd's backup brought back: it stops, goes on when somebody says so, and the loss is never hidden."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.ledgers import NOW, Clock, Json, Store, anchor_of, entry, kept, new_key, sealed_ledger
from tunegate.errors import Terminal
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter

KEY = new_key()
RING = KeyRing(KEY)
PUBLIC = [KEY.public]
LATER = NOW + timedelta(days=1)


async def restored(keep: int) -> tuple[Store, list[Json]]:
    """A ledger of three checkpoints of which a backup brought back the first records; and all as it was."""
    before = (await sealed_ledger(RING, (3, 3, 3))).records
    store = Store()
    store.objects = {one["metadata"]["name"]: one for one in before[:keep]}
    return store, before


def anchors_of(before: list[Json]) -> list[Anchor]:
    return [anchor_of(before[at]) for at in (3, 7, 11)]


def writer_of(store: Store, anchors: list[Anchor]) -> LedgerWriter:
    return LedgerWriter(store, Clock(LATER), anchors=kept(*anchors), keys=PUBLIC)


@pytest.mark.attack(29)
@pytest.mark.parametrize("keep", [4, 5, 7, 11])
async def test_restored_ledger_stops_until_an_epoch_is_begun_and_then_verifies(keep: int) -> None:
    store, before = await restored(keep)
    writer = writer_of(store, anchors_of(before))
    with pytest.raises(Terminal, match="rolled back") as caught:
        await writer.append(entry(50))
    assert caught.value.reason == "LedgerBehind"
    begun = await writer.begin_epoch(RING, "the disk of etcd was lost", "ada")
    assert begun.sequence == keep + 1
    await writer.append(entry(50))
    await writer.seal(RING)
    report = verify(store.records, keys=PUBLIC, anchors=[*anchors_of(before), anchor_of(store.records[-1])])
    assert report.problems == ()
    said = str(report.epochs[0])
    assert f"restored to audit-{keep:010d}. Lost are audit-{keep + 1:010d} to audit-0000000012" in said
    assert "by ada: the disk of etcd was lost" in said


async def test_another_operator_goes_on_by_itself_once_the_epoch_is_begun() -> None:
    store, before = await restored(5)
    leader, other = (writer_of(store, anchors_of(before)) for _ in range(2))
    with pytest.raises(Terminal):
        await leader.append(entry(50))
    await other.begin_epoch(RING, "restored", "ada")
    assert (await leader.append(entry(50))).sequence == 7


@pytest.mark.attack(29, 30)
async def test_epoch_explains_no_later_roll_back() -> None:
    store, before = await restored(5)
    writer = writer_of(store, anchors_of(before))
    await writer.begin_epoch(RING, "restored", "ada")
    for number in range(60, 70):
        await writer.append(entry(number))
    await writer.seal(RING)
    later = anchor_of(store.records[-1])
    rolled_back = store.records[:8]
    report = verify(rolled_back, keys=PUBLIC, anchors=[*anchors_of(before), later])
    assert [one.where for one in report.problems] == ["kept"]
    assert "the ledger held 16 records" in report.problems[0].message


async def test_second_loss_is_a_second_epoch_even_where_the_first_was_lost_too() -> None:
    store, before = await restored(5)
    writer = writer_of(store, anchors_of(before))
    await writer.begin_epoch(RING, "restored", "ada")
    await writer.append(entry(60))
    await writer.seal(RING)
    all_anchors = [*anchors_of(before), anchor_of(store.records[-1])]
    again = Store()
    again.objects = {one["metadata"]["name"]: one for one in before[:4]}
    second = LedgerWriter(again, Clock(LATER + timedelta(days=1)), anchors=kept(*all_anchors), keys=PUBLIC)
    await second.begin_epoch(RING, "restored once more", "bo")
    await second.append(entry(70))
    assert verify(again.records, keys=PUBLIC, anchors=all_anchors).problems == ()


@pytest.mark.attack(29, 38)
async def test_epoch_that_no_key_of_ours_signed_explains_nothing() -> None:
    store, before = await restored(5)
    forger = KeyRing(new_key())
    with pytest.raises(Terminal, match=r"previous\.pem"):
        await writer_of(store, anchors_of(before)).begin_epoch(forger, "nothing to see", "eve")
    writer = writer_of(store, anchors_of(before))
    await writer.begin_epoch(RING, "restored", "ada")
    forged = store.records
    forged[-1]["spec"]["payload"]["anchor"] = anchor_of(before[3]).text
    report = verify(forged, keys=PUBLIC, anchors=anchors_of(before))
    assert any("another than it states" in one.message for one in report.problems)
    assert report.epochs == ()
    assert any("rolled back" in one.message or "now it holds another" in one.message for one in report.problems)


async def test_nothing_lost_and_another_history_begin_no_epoch() -> None:
    store, before = await restored(12)
    with pytest.raises(Terminal, match="nothing to begin again"):
        await writer_of(store, anchors_of(before)).begin_epoch(RING, "why not", "ada")
    forked, _ = await restored(4)
    alone = writer_of(forked, [])
    for number in range(80, 95):
        await alone.append(entry(number))
    await alone.seal(RING)
    with pytest.raises(Terminal, match="another history"):
        await writer_of(forked, anchors_of(before)).begin_epoch(RING, "restored", "ada")
    elsewhere = await sealed_ledger(RING, (3,), start=500)
    with pytest.raises(Terminal, match="another ledger's"):
        await writer_of(elsewhere, anchors_of(before)).begin_epoch(RING, "restored", "ada")
    with pytest.raises(Terminal, match="empty"):
        await writer_of(Store(), anchors_of(before)).begin_epoch(RING, "restored", "ada")


@pytest.mark.parametrize(("by", "reason"), [("ada", " "), ("", "restored"), ("ada", "é" * 200)])
async def test_name_and_reason_must_be_there_and_fit_into_a_record(by: str, reason: str) -> None:
    store, before = await restored(5)
    with pytest.raises(Terminal, match="at most 400 bytes"):
        await writer_of(store, anchors_of(before)).begin_epoch(RING, reason, by)


async def test_clock_that_went_back_begins_no_epoch_that_would_explain_later_anchors() -> None:
    store, before = await restored(5)
    writer = LedgerWriter(store, Clock(), anchors=kept(*anchors_of(before)), keys=PUBLIC)
    with pytest.raises(Terminal, match="put the clock right"):
        await writer.begin_epoch(RING, "restored", "ada")


async def test_longest_reason_fits_after_a_rotation_too() -> None:
    store, following = await sealed_ledger(RING, (3,)), new_key()
    ring = KeyRing(following, KEY)
    writer = LedgerWriter(store, Clock())
    await writer.append(entry(50))
    await writer.seal(ring)
    rotated = anchor_of(store.records[-1])
    behind = Store()
    behind.objects = {one["metadata"]["name"]: one for one in store.records[:4]}
    second = LedgerWriter(behind, Clock(LATER), anchors=kept(rotated), keys=ring.publics)
    record = await second.begin_epoch(ring, "x" * 397, "ada")
    assert max(map(len, record.payload.values())) <= 2048
    await second.seal(ring)
    report = verify(behind.records, keys=[following.public], anchors=[rotated])
    assert report.problems == ()
