"""A guard under test, and what it has found and recorded."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.governed_namespace import World
from tunegate.admission.guard import Guard
from tunegate.admission.rules import subject_of
from tunegate.ledger.writer import LedgerWriter


@dataclass
class Guarded:
    """The namespaces of a test, with a guard and a ledger of its own."""

    world: World
    guard: Guard
    ledger: LedgerWriter

    async def look(self) -> str | None:
        await self.guard.look()
        return self.guard.frozen

    async def types(self) -> list[str]:
        return [record.type for record in await self.ledger.of_subject(subject_of(self.world.system).uid)]
