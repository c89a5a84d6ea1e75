"""Anchors that hang hold back what is recorded, and nothing else."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.ledgers import Clock, Store, entry, new_key
from tests.support.silent_server import silent_server
from tunegate.errors import Transient
from tunegate.ledger.anchors.places import FolderAnchor, MlflowAnchor
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.kept_anchors import KeptAnchors
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter
from tunegate.tracking.mlflow import Tracking

pytestmark = pytest.mark.timeout(60)


async def test_reading_goes_on_while_a_folder_hangs_and_appending_waits_until_it_answers(tmp_path: Path) -> None:
    pipe = tmp_path / "checkpoint-0000000001-00000000.json"
    os.mkfifo(pipe)
    store = Store()
    await LedgerWriter(store, Clock()).append(entry(0))
    writer = LedgerWriter(store, Clock(), anchors=FolderAnchor(tmp_path).read)
    appending = asyncio.create_task(writer.append(entry(1)))
    held = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # returns when somebody reads

    assert [one.sequence for one in await writer.of_subject("uid-0")] == [1]
    assert await writer.problems() == []
    assert not appending.done()
    os.close(held)  # an empty file: nothing is kept
    assert (await appending).sequence == 2


async def test_the_first_record_of_an_operator_waits_for_no_mlflow_that_takes_connections_and_says_nothing() -> None:
    with silent_server() as server:
        mlflow = MlflowAnchor(Tracking(f"http://{server.host}"), KeyRing(new_key()))
        written = await LedgerWriter(Store(), Clock(), anchors=mlflow.read).append(entry(0))

        assert written.sequence == 1
        await asyncio.to_thread(server.wait_for, 1)


async def test_appending_fails_in_time_where_anchors_do_not_answer_and_one_reading_serves_all() -> None:
    readings, answer = 0, asyncio.Event()

    async def read() -> list[Anchor]:
        nonlocal readings
        readings += 1
        await answer.wait()
        return []

    kept = KeptAnchors(read, patience=0.2)
    ends = await asyncio.gather(*(kept.wait() for _ in range(5)), return_exceptions=True)
    assert {type(one) for one in ends} == {Transient}
    assert "do not answer" in str(ends[0])
    with pytest.raises(Transient):
        await kept.wait()
    assert readings == 1
    answer.set()
    while True:
        try:
            await kept.wait()
            break
        except Transient:
            await asyncio.sleep(0)
    assert kept.read == []
    assert readings == 1
