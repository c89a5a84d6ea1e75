"""The container that fetches adapters, asked over its socket as the gateway asks: killed and started at any moment, it ends the same."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support.sealed_adapter import Bench
from tunegate.api.serving import AdapterEntry
from tunegate.gateway.cluster import Unreachable
from tunegate.gateway.fetching import Fetching, NotNow, NotServable
from tunegate.serving.sidecar import running

ROOT = str(Path(__file__).parents[2])
PROGRAM = """
import asyncio, sys
from pathlib import Path
from tunegate.api.serving import ServerDocument
from tunegate.serving.fetching import Places
from tunegate.serving.sidecar import running

async def serve(document, folder):
    places = Places(folder / "adapters", folder / "no-auth", folder / "no-ca")
    async with running(ServerDocument.model_validate_json(document), places, folder / "fetch.sock"):
        print("listens", flush=True)
        await asyncio.sleep(3600)

asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.fixture
def bench(bench: Bench) -> Bench:
    (bench.folder / "adapters").mkdir()
    return bench


@asynccontextmanager
async def asked(bench: Bench, auth: str | None = None) -> AsyncIterator[Fetching]:
    async def credential() -> str | None:
        return auth

    async with (
        running(bench.document(), bench.places, bench.folder / "fetch.sock"),
        Fetching(bench.folder / "fetch.sock", credential) as fetching,
    ):
        yield fetching


async def test_an_adapter_is_fetched_kept_and_removed(bench: Bench) -> None:
    first, second = bench.seal("one"), bench.seal("other")
    async with asked(bench) as fetching:
        found = await asyncio.gather(*(fetching.fetch(one) for one in (first, second, first)))
        assert [one.folder for one in found] == [folder(bench, one) for one in (first, second, first)]
        assert len(found[0].probe.items) == 8
        await fetching.keep([second.digest])
        assert [path.name for path in bench.target.iterdir()] == [second.digest.removeprefix("sha256:")]


async def test_what_is_not_the_approved_adapter_is_told_apart_from_what_is_out_of_reach(bench: Bench) -> None:
    bad = bench.replace(bench.seal("one"), manifest_digest="sha256:" + "1" * 64)
    good = bench.seal("other")
    async with asked(bench) as fetching:
        with pytest.raises(NotServable, match="digest that was approved"):
            await fetching.fetch(bad)
        assert (await fetching.fetch(good)).folder == folder(bench, good)

    async def nothing() -> str:
        raise Unreachable("Secret: 503")

    async with Fetching(bench.folder / "fetch.sock", nothing) as fetching:
        with pytest.raises(NotNow, match="credential cannot be read"):
            await fetching.fetch(good)

    async def none() -> None:
        return None

    async with Fetching(bench.folder / "fetch.sock", none) as fetching:
        with pytest.raises(NotNow, match="does not answer"):
            await fetching.fetch(good)


def folder(bench: Bench, entry: AdapterEntry) -> str:
    return str(bench.target / entry.digest.removeprefix("sha256:"))


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"entry": {}, "auth": "secret-token"}', b'{"digests": ["secret-token"]}']
)
async def test_a_question_that_cannot_be_understood_is_not_repeated(
    bench: Bench, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    connector = aiohttp.UnixConnector(path=str(bench.folder / "fetch.sock"))
    async with asked(bench), aiohttp.ClientSession(connector=connector) as http:
        for path in ("/fetch", "/keep"):
            async with http.post(f"http://adapters{path}", data=body) as answer:
                text = await answer.text()
                assert answer.status == 400
                assert "secret-token" not in text + caplog.text


@contextmanager
def program(bench: Bench) -> Iterator[subprocess.Popen[bytes]]:
    """Run it as a process of its own; it listens when the block begins."""
    document = json.dumps(bench.document().to_dict())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, *sys.path]))}
    command = [sys.executable, "-c", PROGRAM, document, str(bench.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listens\n"
            yield process
        finally:
            process.kill()


async def test_killed_while_it_fetches_it_leaves_nothing_that_an_engine_could_read_and_ends_its_work_later(
    bench: Bench,
) -> None:
    entry = bench.seal("one")
    place = Path(folder(bench, entry))

    async def none() -> None:
        return None

    for moment in range(6):
        with program(bench) as process:
            async with Fetching(bench.folder / "fetch.sock", none) as fetching:
                asking = asyncio.create_task(fetching.fetch(entry))
                for _ in range(moment * 4):
                    await asyncio.sleep(0.002)
                process.kill()
                with suppress(NotNow):
                    await asking
        published = [path for path in bench.target.iterdir() if not path.name.startswith(".")]
        assert published in ([], [place])
        for path in published:
            assert {file.name: file.read_bytes() for file in path.iterdir()} == {
                file.name: file.read_bytes() for file in (bench.folder / "source-one").iterdir()
            }
    with program(bench):
        async with Fetching(bench.folder / "fetch.sock", none) as fetching:
            assert (await fetching.fetch(entry)).folder == str(place)
    assert [path.name for path in bench.target.iterdir()] == [place.name]
