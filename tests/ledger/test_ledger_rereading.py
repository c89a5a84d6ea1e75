"""A writer that has been running for long reads all records again: what was changed behind its back shows and stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.ledgers import Clock, Json, Store, entry
from tunegate.errors import Terminal, Transient
from tunegate.ledger.chain import content_hash, record_name
from tunegate.ledger.writer import LedgerWriter
from tunegate.runtime.rereading import keep_rereading

LENGTH = 8


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def writer(store: Store) -> LedgerWriter:
    made = LedgerWriter(store, Clock())
    for number in range(LENGTH):
        await made.append(entry(number, role="risk"))
    return made


def edit(store: Store, sequence: int, *, forward: bool) -> None:
    """Change a record as somebody with etcd's files would; ``forward``: and make all hashes after it fit again."""
    before = ""
    for number in range(sequence, LENGTH + 1):
        spec = store.objects[record_name(number)]["spec"]
        if number == sequence:
            spec["payload"]["role"] = "compliance"
        if forward:
            spec["previousHash"] = before or spec["previousHash"]
            spec["hash"] = before = content_hash(spec)


async def test_untouched_ledger_goes_on(store: Store, writer: LedgerWriter) -> None:
    assert await writer.reread() == []
    assert (await writer.append(entry(LENGTH))).sequence == LENGTH + 1


@pytest.mark.attack(29)
async def test_old_record_that_was_edited_is_named_and_nothing_more_is_appended(
    store: Store, writer: LedgerWriter
) -> None:
    edit(store, 3, forward=False)
    await writer.append(entry(LENGTH))
    (problem,) = await writer.reread()
    assert problem.where == record_name(3)
    with pytest.raises(Terminal, match=record_name(3)) as stopped:
        await writer.append(entry(LENGTH + 1))
    assert stopped.value.reason == "LedgerBroken"
    known = await writer.of_subject("uid-2")
    assert (known[0].sequence, known[0].payload["role"]) == (3, "risk"), "what was read before the edit still holds"


@pytest.mark.attack(29)
async def test_history_that_was_written_anew_and_fits_in_itself_is_found(store: Store, writer: LedgerWriter) -> None:
    edit(store, 3, forward=True)
    assert await LedgerWriter(store, Clock()).problems() == []
    (problem,) = await writer.reread()
    assert f"record {LENGTH}" in problem.message
    with pytest.raises(Terminal, match="does not verify"):
        await writer.append(entry(LENGTH))


@pytest.mark.attack(29)
async def test_tail_that_was_cut_off_is_found(store: Store, writer: LedgerWriter) -> None:
    del store.objects[record_name(LENGTH)]
    (problem,) = await writer.reread()
    assert "cut off" in problem.message


async def test_records_that_others_append_meanwhile_are_no_problem(store: Store, writer: LedgerWriter) -> None:
    other = LedgerWriter(store, Clock())
    found, *_ = await asyncio.gather(
        writer.reread(), *(one.append(entry(LENGTH + at)) for at, one in enumerate((writer, other, writer)))
    )
    assert found == []
    assert await writer.problems() == []


class Away(Store):
    """A store that cannot list."""

    away = False

    async def pages(self, api_version: str, kind: str) -> AsyncIterator[list[Json]]:
        if self.away:
            raise Transient("the API server is away")
        async for page in super().pages(api_version, kind):
            yield page


async def test_store_that_cannot_be_read_is_no_broken_ledger(caplog: pytest.LogCaptureFixture) -> None:
    store = Away()
    writer = LedgerWriter(store, Clock())
    await writer.append(entry(0))
    store.away = True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keep_rereading(writer, 0.05 / 3600), 0.2)
    assert "could not be read again: the API server is away" in caplog.text
    assert (await writer.append(entry(1))).sequence == 2


@pytest.mark.attack(29)
async def test_running_operator_finds_the_edit_by_itself(
    store: Store, writer: LedgerWriter, caplog: pytest.LogCaptureFixture
) -> None:
    edit(store, 3, forward=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keep_rereading(writer, 0.05 / 3600), 0.5)
    assert f"the ledger was changed: {record_name(3)}" in caplog.text
    assert [one.where for one in await writer.problems()] == [record_name(3)]
