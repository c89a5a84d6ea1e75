"""Clients that ask without a pause while a route's weights change again and again, and what they were answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.gateway.standins import DEAD, GOOD, Apart, routes, to

NEW = "new-00000004"
WEIGHTS = (0, 5, 25, 50, 100)


@dataclass
class Answers:
    """What all clients together were answered."""

    failures: list[str] = field(default_factory=list)
    """What a client got instead of an answer."""
    strangers: list[str] = field(default_factory=list)
    """Releases that had no share when a request began, nor when it ended."""
    seconds: list[float] = field(default_factory=list)
    switches: int = 0
    served: set[str] = field(default_factory=set)

    def quantile(self, share: float) -> float:
        """Return the time in seconds that a share of the answers did not exceed."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


class Switcher:
    """Moves the route `extract` of a gateway between two releases."""

    def __init__(self, stage: Apart, seed: int) -> None:
        self._stage = stage
        self._random = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self._revision = 10
        self.shares: list[frozenset[str]] = []
        """Served names with a share, for each switch."""

    async def prepare(self) -> None:
        """Let the pod hold both releases."""
        await self._stage.cluster.list(GOOD, DEAD, NEW)
        await self.switch(50)
        await self._stage.told(lambda said: NEW in said["routes"].get("extract", {}))

    async def switch(self, weight: int | None = None) -> None:
        """Give the newer release another weight, and return once the gateway follows it."""
        new = self._random.choice(WEIGHTS) if weight is None else weight
        self._revision += 1
        self.shares.append(frozenset(name for name, one in ((GOOD, 100 - new), (NEW, new)) if one))
        route = to(GOOD, NEW, weights=(100 - new, new))
        await self._stage.cluster.put(
            routes(revision=self._revision, routes={"extract": route}, approved=[GOOD, DEAD, NEW])
        )
        while (await self._stage.status())["routesRevision"] < self._revision:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.002)


async def ask_while_weights_change(stage: Apart, switches: int, clients: int = 8, seed: int = 1) -> Answers:
    """Return what ``clients`` clients were answered during so many switches."""
    answers, switcher = Answers(), Switcher(stage, seed)
    await switcher.prepare()
    tasks = [asyncio.create_task(_ask(stage, answers, switcher.shares, number)) for number in range(clients)]
    for _ in range(switches):
        await switcher.switch()
        answers.switches += 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return answers


async def _ask(stage: Apart, answers: Answers, shares: Sequence[frozenset[str]], number: int) -> None:
    turn = 0
    while True:
        turn += 1
        headers = {"X-Tunegate-Session": f"{number}-{turn % 50}"}
        before, begun = max(0, len(shares) - 2), time.monotonic()
        try:
            status, told = await stage.ask(headers=headers)
        except Exception as error:
            answers.failures.append(f"{type(error).__name__}: {error}"[:200])
            continue
        answers.seconds.append(time.monotonic() - begun)
        if status != 200:
            answers.failures.append(f"{status}: {told}"[:200])
            continue
        served = str(told["choices"][0]["message"]["content"]).split()[0]
        answers.served.add(served)
        if served not in frozenset().union(*shares[before:]):
            answers.strangers.append(served)
