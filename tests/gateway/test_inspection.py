"""Texts of clients are worked on beside the event loop, and a client that goes away takes nothing with it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tunegate.gateway.inspection import INLINE_BYTES, Inspection

ENDPOINT = "/v1/chat/completions"


def body(length: int) -> bytes:
    return json.dumps({"model": "base", "messages": [{"role": "user", "content": "x" * length}]}).encode()


@pytest.mark.attack(63)
async def test_a_client_that_leaves_ends_no_process_and_the_next_text_is_read() -> None:
    async with Inspection(processes=1) as inspection:
        await inspection.body(ENDPOINT, body(INLINE_BYTES))
        (process,) = inspection._running
        for _ in range(5):
            asked = asyncio.ensure_future(inspection.body(ENDPOINT, body(500_000)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        assert (await inspection.body(ENDPOINT, body(INLINE_BYTES))) is not None
        assert inspection._running == {process}
        assert process.returncode is None
