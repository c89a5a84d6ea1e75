"""The ledger is read in pages of any order, and kept in little memory without losing a letter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ledgers import Clock, Json, Store, entry
from tunegate.ledger.packed_records import PackedRecords
from tunegate.ledger.sequence import in_order, sequence_of
from tunegate.ledger.writer import LedgerWriter


async def paged(numbers: list[int], size: int) -> AsyncIterator[list[Json]]:
    made = [{"spec": {"sequence": number}} for number in numbers]
    for start in range(0, len(made), size):
        yield made[start : start + size]


@given(st.permutations(range(1, 13)), st.integers(1, 13))
async def test_pages_of_any_order_come_out_in_order(numbers: list[int], size: int) -> None:
    assert [sequence_of(one) async for one in in_order(paged(numbers, size))] == sorted(numbers)


async def test_gaps_doubles_and_objects_without_a_number_are_not_lost() -> None:
    assert [sequence_of(one) async for one in in_order(paged([7, 2, 2, 5], 2))] == [2, 2, 5, 7]
    found = [one async for one in in_order(odd())]
    assert len(found) == 3


async def odd() -> AsyncIterator[list[Json]]:
    yield [{"spec": {"sequence": 1}}, {"spec": "none"}, {}]


async def test_record_comes_back_from_the_shelf_as_it_was_put_there() -> None:
    store = Store()
    writer = LedgerWriter(store, Clock())
    for number in range(7):
        await writer.append(entry(number, note="Zoë \\ \n \u2028 😀" * number))
    packed = PackedRecords()
    for record in store.records:
        packed.add(record["spec"])
    assert [packed.at(place).to_dict() for place in range(len(packed))] == [one["spec"] for one in store.records]
    assert packed.last_of(("ApprovalRecorded",)) == 6
    assert packed.last_of(("KeyRotated",)) is None


def test_record_that_cannot_be_shown_is_left_out_and_the_others_are_not() -> None:
    packed = PackedRecords()
    subject = {"kind": "ModelRelease", "namespace": "team", "name": "one", "uid": "u"}
    packed.add({"type": "ReleaseApproved", "time": "2026-11-24T12:00:00Z", "subject": subject})
    assert packed.of_subject("u") == ()
    assert len(packed) == 1


@pytest.mark.parametrize("count", [0, 1, 30])
async def test_fresh_writer_knows_all_that_another_wrote(count: int) -> None:
    store = Store()
    writer = LedgerWriter(store, Clock())
    for number in range(count):
        await writer.append(entry(number))
    fresh = LedgerWriter(store, Clock())
    assert (await fresh.since_seal()).records == count
    found = [await fresh.of_subject(f"uid-{at}") for at in range(3)]
    assert sum(map(len, found)) == count
    assert await fresh.problems() == []
