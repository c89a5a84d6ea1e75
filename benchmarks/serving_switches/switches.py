"""What clients of one adapter notice while another is approved, answers and is revoked, again and again, in a real engine.

    tests/in_trainer_image.sh --run benchmarks/serving_switches/switches.py --times 100 --clients 8 --rest 120

A gateway as a process of its own, vLLM with SmolLM2 on the CPU, and stand-ins for the API server and for the container that fetches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.real_engine import GOOD, Prepared, RunningEngine, prepared, record, started_engine
from tests.gateway.standins import KEY, OTHER_KEY, gateway_program, to
from tunegate.api.serving import RoutesDocument

LATE = "late-00000004"
QUESTION = [{"role": "user", "content": "Name a fruit."}]
TOKENS = 8
WRONG_NATS = 0.05
"""More than so far away from the first answer's log-probabilities, and another adapter has answered."""


@dataclass
class Tally:
    """What steady clients saw in one phase."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    largest: float = 0.0

    def row(self, name: str) -> str:
        """Return a line of the table."""
        quantile = statistics.quantiles(self.seconds, n=100, method="inclusive")
        return (
            f"| {name} | {len(self.seconds)} | {len(self.errors)} | {self.wrong} | {self.largest:.4f} | {quantile[49]:.3f} | "
            f"{quantile[98]:.3f} |"
        )


@dataclass
class Bench:
    """A gateway's address, and what was first answered under each name."""

    http: aiohttp.ClientSession
    url: str
    ready: Prepared
    expected: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    async def ask(self, model: str) -> tuple[int, list[tuple[str, float]], float]:
        """Ask; return status, tokens with their log-probabilities, and seconds."""
        body = {"model": model, "messages": QUESTION, "max_tokens": TOKENS, "temperature": 0, "logprobs": True}
        begun = time.monotonic()
        headers = {"Authorization": f"Bearer {KEY if model == 'extract' else OTHER_KEY}"}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
            told: dict[str, Any] = json.loads(await answer.read())
            seconds = time.monotonic() - begun
            if answer.status != 200:
                return answer.status, [], seconds
            content = told["choices"][0]["logprobs"]["content"]
            return 200, [(one["token"], one["logprob"]) for one in content], seconds

    def distance(self, model: str, found: list[tuple[str, float]]) -> float:
        """Return how far an answer is from the first one under this name, in nats; infinite where the tokens differ."""
        first = self.expected.setdefault(model, found)
        if [token for token, _ in first] != [token for token, _ in found]:
            return float("inf")
        return max(abs(one - other) for (_, one), (_, other) in zip(first, found, strict=True))

    async def steady(self, tally: Callable[[], Tally]) -> None:
        """Ask the first adapter all the time."""
        while True:
            status, found, seconds = await self.ask("extract")
            now = tally()
            if status != 200:
                now.errors.append(str(status))
                continue
            now.seconds.append(seconds)
            distance = self.distance("extract", found)
            now.wrong += distance > WRONG_NATS
            now.largest = max(now.largest, distance)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 600.0) -> float:
    """Wait for something; return how long it took."""
    begun = time.monotonic()
    while not await holds():
        if time.monotonic() - begun > seconds:
            raise TimeoutError("it never came to that")
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


def routes(revision: int, *, late: bool) -> RoutesDocument:
    """Return the operator's routes, with or without the second adapter."""
    open_ = {"extract": to(GOOD), "later": to(LATE)} if late else {"extract": to(GOOD)}
    return RoutesDocument(
        revision=revision, routes=open_, names=["extract", "later"], approved=[GOOD, LATE] if late else [GOOD]
    )


async def switch(bench: Bench, revision: int) -> tuple[float, float]:
    """Approve and revoke the second adapter; return seconds from approval to answer, and from revocation to refusal."""
    cluster = bench.ready.cluster

    async def answers() -> bool:
        status, found, _ = await bench.ask("later")
        if status == 200 and bench.distance("later", found) > WRONG_NATS:
            raise RuntimeError("another adapter answered")
        return status == 200

    async def refused() -> bool:
        return (await bench.ask("later"))[0] == 503

    async def unloaded() -> bool:
        address = f"http://127.0.0.1:{bench.ready.settings.status_port}/status"
        async with bench.http.get(address) as answer:
            return [one["servedName"] for one in (await answer.json())["adapters"]] == [GOOD]

    await cluster.put(routes(2 * revision, late=True))
    await cluster.list(GOOD, LATE)
    opened = await until(answers)
    await cluster.put(routes(2 * revision + 1, late=False))
    closed = await until(refused)
    await cluster.list(GOOD)
    await until(unloaded)
    return opened, closed


async def measure(engine: RunningEngine, folder: Path, options: argparse.Namespace) -> None:
    """Run all phases and print the tables."""
    engine.write(LATE, seed=8)
    probes = {GOOD: await record(engine), LATE: await record(engine, LATE)}
    async with (
        prepared(folder, engine, probes, routes(1, late=False), GOOD) as ready,
        gateway_program(ready.settings, folder / "gateway.log"),
        aiohttp.ClientSession() as http,
    ):
        bench = Bench(http, f"http://127.0.0.1:{ready.settings.port}", ready)
        rest, moving = Tally(), Tally()
        phase = rest
        alone = [await switch(bench, 1) for _ in range(1)]
        clients = [asyncio.create_task(bench.steady(lambda: phase)) for _ in range(options.clients)]
        await asyncio.sleep(options.rest)
        phase = moving
        took = [await switch(bench, revision) for revision in range(2, options.times + 2)]
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    print("| phase | answers of A | errors | by another adapter | farthest, nats | p50, s | p99, s |")
    print("|---|---|---|---|---|---|---|")
    print(rest.row("at rest"))
    print(moving.row(f"{options.times} times approve, answer, revoke B"))
    print()
    print("| | median, s | longest, s |")
    print("|---|---|---|")
    for name, index in (("approved until answering", 0), ("revoked until refused", 1)):
        print(f"| {name}, no other client | {alone[0][index]:.2f} | |")
        values = [one[index] for one in took]
        print(f"| {name}, {options.clients} clients of A | {statistics.median(values):.2f} | {max(values):.2f} |")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rest", type=float, default=120.0, help="seconds without changes before them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        engine_folder, folder = Path(place) / "engine", Path(place) / "gateway"
        engine_folder.mkdir()
        folder.mkdir()
        with started_engine(engine_folder) as engine:
            asyncio.run(measure(engine, folder, options))


if __name__ == "__main__":
    main()
