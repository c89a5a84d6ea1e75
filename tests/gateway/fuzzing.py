"""Sends many mutated requests to a gateway as one client, while another one asks something ordinary all the time."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.gateway.mutations import Mutations

GIVE_UP = aiohttp.ClientTimeout(total=3)
"""The one who fuzzes waits no longer for an answer, and leaves: the engine has to notice that too."""
CANARY = {"model": "base", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}
ROUNDS = 10
RESTS, MANY_RESTS, MANY = 3, 10, 10_000
"""Questions of the other client alone before each round; of a run with many requests more."""


@dataclass
class Report:
    """What came back."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Requests that ended in an answer of 500 and more, and the answer."""
    at_rest: list[float] = field(default_factory=list)
    meanwhile: list[float] = field(default_factory=list)
    canaries_refused: int = 0
    seconds: float = 0.0

    def quantile(self, values: list[float], share: float) -> float:
        """Return a quantile in seconds."""
        return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0

    @property
    def ratio(self) -> float:
        """The other client's p99 under fuzz, by that at rest."""
        return self.quantile(self.meanwhile, 0.99) / max(self.quantile(self.at_rest, 0.99), 1e-9)

    def text(self) -> str:
        """Return the numbers for people."""
        rest, busy = self.at_rest, self.meanwhile
        times = " ".join(
            f"{name} p50 {statistics.median(values or [0]):.3f} s p99 {self.quantile(values, 0.99):.3f} s n {len(values)};"
            for name, values in (("at rest", rest), ("under fuzz", busy))
        )
        return (
            f"{sum(self.statuses.values())} requests in {self.seconds:.0f} s, {dict(sorted(self.statuses.items()))}; "
            f"other client: {times} ratio {self.ratio:.2f}, refused {self.canaries_refused}"
        )


async def fuzz(
    url: str, keys: tuple[str, str], models: list[str], *, requests: int, seed: int, seconds: float, at_once: int = 16,
    canary: dict[str, Any] | None = None,
) -> Report:  # fmt: skip
    """Send up to ``requests`` in at most ``seconds``, as the first key; the second one's owner is measured.

    The owner of the second key is measured alone before each tenth: a machine does not stay equally fast for half an hour.
    """
    report = Report()
    body = canary or CANARY
    rest = RESTS if requests < MANY else MANY_RESTS
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as http:
        mutations = Mutations(seed, models)
        for number in range(ROUNDS):
            for _ in range(rest):
                await _canary(http, url, keys[1], body, report.at_rest, report)
            done = asyncio.Event()
            watching = asyncio.create_task(_canaries(http, url, keys[1], body, report, done))
            begun = time.monotonic()
            left = iter(range(requests * number // ROUNDS, requests * (number + 1) // ROUNDS))
            senders = (
                _sender(http, url, keys[0], mutations, report, left, begun + seconds / ROUNDS) for _ in range(at_once)
            )
            await asyncio.gather(*senders)
            report.seconds += time.monotonic() - begun
            done.set()
            await watching
            print(f"{(number + 1) * 100 // ROUNDS} %: {report.text()}", flush=True)
    return report


async def _sender(
    http: aiohttp.ClientSession, url: str, key: str, mutations: Mutations, report: Report, left: Iterator[int],
    until: float,
) -> None:  # fmt: skip
    for _ in left:
        if time.monotonic() > until:
            return
        await _send(http, url, key, mutations, report)


async def _send(http: aiohttp.ClientSession, url: str, key: str, mutations: Mutations, report: Report) -> None:
    sent = mutations.next()
    headers = {"Authorization": f"Bearer {key}", **sent.headers}
    try:
        async with http.post(url + sent.path, data=sent.body, headers=headers, timeout=GIVE_UP) as answer:
            text = await answer.read()
            report.statuses[str(answer.status)] += 1
            if answer.status >= 500 and answer.status != 503:
                report.failures.append((repr((sent.path, sent.headers, sent.body))[:3000], repr(text[:300])))
    except TimeoutError:
        report.statuses["given up"] += 1
    except (aiohttp.ClientError, ValueError, UnicodeError) as error:
        report.statuses[type(error).__name__] += 1


async def _canaries(
    http: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any], report: Report, done: asyncio.Event
) -> None:
    while not done.is_set():
        await _canary(http, url, key, body, report.meanwhile, report)
        await asyncio.sleep(0.05)


async def _canary(
    http: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any], times: list[float], report: Report
) -> None:
    begun = time.monotonic()
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer:
        await answer.read()
        if answer.status == 200:
            times.append(time.monotonic() - begun)
        else:
            report.canaries_refused += 1
