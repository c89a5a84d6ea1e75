"""What is kept of documents: a pass over more than fits still finds some of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry_process import running_registry
from tunegate.controllers.documents import Documents
from tunegate.deadlines import Threads
from tunegate.registry.client import RegistryClient

MEDIA_TYPE = "application/vnd.tunegate.test+json"
COUNT, BYTES = 24, 1000
PASSES = 12


class CountingRegistry(RegistryClient):
    """Counts what is read from the registry."""

    pulled = 0

    def pull_document(self, repository: str, digest: str, *, media_type: str | None = None) -> bytes:
        self.pulled += 1
        return super().pull_document(repository, digest, media_type=media_type)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[CountingRegistry]:
    with running_registry(tmp_path) as running:
        client = CountingRegistry(running.host, plain_http=True)
        yield client
        client.close()


async def test_passes_in_order_over_more_than_fits_read_part_from_memory(registry: CountingRegistry) -> None:
    contents = {f"team/r-{n}": f"{n:0{BYTES}}".encode() for n in range(COUNT)}
    digests = {name: registry.push_document(name, content, MEDIA_TYPE) for name, content in contents.items()}
    documents = Documents(registry, Threads("the registry", 2), kept_bytes=BYTES * COUNT // 2)

    for _ in range(PASSES):
        for name, content in contents.items():
            assert await documents.read(name, digests[name], MEDIA_TYPE) == content

    assert registry.pulled < COUNT * PASSES * 0.93, "a cache that forgets the least recently used one would find none"
    assert registry.pulled > COUNT * PASSES // 2, "no more is kept than fits"


async def test_what_fits_is_read_once_and_what_is_larger_than_the_whole_memory_each_time(
    registry: CountingRegistry,
) -> None:
    small, large = b"{}", b"x" * 3000
    digests = {content: registry.push_document("team/r", content, MEDIA_TYPE) for content in (small, large)}
    documents = Documents(registry, Threads("the registry", 2), kept_bytes=2000)
    for _ in range(3):
        for content, digest in digests.items():
            assert await documents.read("team/r", digest, MEDIA_TYPE) == content

    assert registry.pulled == 1 + 3
