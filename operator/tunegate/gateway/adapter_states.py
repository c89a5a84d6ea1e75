"""What this pod can answer with: brings the adapters of the operator's list into the engine, and takes out what is listed no more.

An adapter is fetched and verified by the container beside (``gateway.fetching``), loaded by the engine, probed, and only then held:
so in the end routes lead to it. On its way out it is the other way round: no route leads there any more, then the requests that it
answers end or are cut, then the engine unloads it, then its folder is removed. One adapter moves at a time; others answer meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunegate.api.asked import AskedAs
from tunegate.api.manifest import HashedFolder
from tunegate.api.serving import ADAPTERS_DIR, AdapterEntry, EngineState, GatewayAdapter, folder_of
from tunegate.gateway.adapter_list import AdapterList
from tunegate.gateway.engine import AdapterRefused, Engine, EngineFailure
from tunegate.gateway.engine_watch import EngineWatch
from tunegate.gateway.fetching import Fetching, NotNow, NotServable
from tunegate.gateway.held import FOREVER, RETRY_SECONDS, SOON_SECONDS, Held
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.judging import Judge
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
LEAVING_SECONDS = 60.0
"""For requests that an adapter still answers when it is listed no more. What was revoked is cut at once, with its route."""
STEP_SECONDS = 1.0
"""Longest pause between two looks at what is to be done."""


class AdapterStates:
    """State of the engine and of each adapter. ``changed`` is told the names that may answer, whenever they change.

    ``approved`` returns the names that the operator's routes call approved, None while nobody can say. ``most``: adapters that the
    engine holds at once.
    """

    def __init__(
        self,
        engine: Engine,
        fetching: Fetching,
        base: HashedFolder,
        in_flight: InFlight,
        approved: Callable[[], frozenset[str] | None],
        changed: Callable[[frozenset[str]], None],
        *,
        most: int,
        adapters: str = ADAPTERS_DIR,
    ) -> None:
        self._engine = engine
        self._fetching = fetching
        self._in_flight = in_flight
        self._approved = approved
        self._changed = changed
        self._most = most
        self._watch = EngineWatch(engine, base, adapters, self._engine_changed)
        self._judge = Judge(engine, lambda: len(in_flight) > 0, in_flight.finished)
        self._held: dict[str, Held] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._kept: frozenset[str] | None = None
        """Digests of the folders that were last said to be needed."""
        self._must: frozenset[str] | None = None
        """Names without which the pod is not ready, since it answered with them before; None: all that are listed."""
        self._settled = False
        self._announced: frozenset[str] = frozenset()
        self._something = asyncio.Event()
        self.list = AdapterList()
        self.asked_as: dict[str, AskedAs] = {}
        """How the gate asked each adapter, by served name."""

    @property
    def engine_state(self) -> EngineState:
        """Return how the engine is."""
        return self._watch.state

    @property
    def answers(self) -> bool:
        """Whether the engine can be asked: the base model, and what is held."""
        return self._watch.well

    @property
    def ready(self) -> bool:
        """Whether clients may be sent here: every adapter was judged, for better or worse, in the engine that listens now."""
        return self._settled and self._watch.well

    @property
    def message(self) -> str:
        """Return why nothing can be asked, or why nobody is sent here yet; empty: neither."""
        if not self._watch.well:
            return self._watch.message
        if self._settled:
            return ""
        if not self.list.known:
            return self.list.obstacle or "the list of adapters was not read yet"
        waiting = [one for name, one in sorted(self._held.items()) if not one.judged and name in self.list.entries]
        said = next((f"{one.entry.served_name}: {one.reason}" for one in waiting if one.reason), "")
        return said or f"{len(waiting)} adapters are being loaded and probed"

    @property
    def adapters(self) -> list[GatewayAdapter]:
        """Every adapter that the pod shall hold or still holds, with its state."""
        return [self._held[name].shown() for name in sorted(self._held)]

    def notice(self) -> None:
        """Look at what is to be done now rather than soon: list or routes are others."""
        self._something.set()

    async def watch(self) -> None:
        """Follow the engine, forever."""
        await self._watch.watch()

    async def look(self) -> None:
        """Look at the engine once."""
        await self._watch.look()

    async def work(self) -> None:
        """Bring the engine to what is listed, forever."""
        try:
            while True:
                self._something.clear()
                if not await self.step():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._something.wait(), STEP_SECONDS)
        finally:
            for task in self._fetches.values():
                task.cancel()

    async def step(self) -> bool:
        """Do what can be done next; tell whether there may be more."""
        self._follow()
        self._start_fetches()
        if not self._watch.well:
            return False
        try:
            done = await self._unload_one() or await self._load_one()
        except EngineFailure as error:
            # Whether it is gone, the watch finds out: one question without an answer closes nobody's route.
            log.warning("the engine gave no answer: %s", error, extra=event("EngineSilent", error=error))
            return False
        self._settle()
        await self._tidy()
        return done

    # What is listed

    def _wanted(self) -> dict[str, AdapterEntry]:
        """Return what shall be held: listed, and not called back by the routes, which hear of a revocation first."""
        approved = self._approved()
        return {
            name: entry
            for name, entry in self.list.entries.items()
            if (approved is None or name in approved) and name not in self.list.refused
        }

    def _follow(self) -> None:
        """Compare what is held with what is listed."""
        wanted, now = self._wanted(), _now()
        for name, entry in self.list.entries.items():
            found = self._held.setdefault(name, Held(entry))
            if reason := self.list.refused.get(name):
                found.leave_out("Documents", reason)
            elif found.entry != entry or (
                name in wanted and (found.leaves_at is not None or found.cause == "Documents")
            ):
                found.take(entry)
        for name, found in list(self._held.items()):
            if name in wanted:
                continue
            if found.leaves_at is None:
                found.leaves_at = now + LEAVING_SECONDS
            if name not in self._watch.holds and self._watch.well and name not in self.list.entries:
                self._forget(name)
            elif name not in self.list.refused:
                found.state, found.reason, found.cause = "Unloading", "", None
        self._announce()

    def _forget(self, name: str) -> None:
        del self._held[name]
        self.asked_as.pop(name, None)
        if (task := self._fetches.pop(name, None)) is not None:
            task.cancel()

    # Fetching, beside everything else

    def _start_fetches(self) -> None:
        now = _now()
        for name in self._wanted():
            found = self._held[name]
            if found.fetched is None and name not in self._fetches and found.not_before <= now:
                self._fetches[name] = asyncio.create_task(self._fetch(name, found))

    async def _fetch(self, name: str, found: Held) -> None:
        entry = found.entry
        try:
            fetched = await self._fetching.fetch(entry)
        except NotServable as error:
            if found.entry == entry:
                found.leave_out("Files", str(error), _now() + RETRY_SECONDS)
                _tell(found)
        except NotNow as error:
            if found.entry == entry:
                found.wait(f"cannot be fetched now: {error}", _now() + SOON_SECONDS)
        else:
            if found.entry == entry:
                found.begin()
                found.fetched = fetched
                self.list.verified(entry)
                if fetched.asked_as is not None:
                    self.asked_as[name] = fetched.asked_as
        finally:
            if self._fetches.get(name) is asyncio.current_task():
                del self._fetches[name]
            self._something.set()

    # The engine

    def _engine_changed(self) -> None:
        """Everything is to be judged again: another engine listens, or this one may not be asked."""
        if self._settled:
            self._must = frozenset(name for name, one in self._held.items() if one.state == "Ready")
        self._settled = False
        self._judge.forget()
        for found in self._held.values():
            if found.fetched is not None and found.leaves_at is None:
                found.begin()
        self._announce()
        self._something.set()

    async def _unload_one(self) -> bool:
        """Unload one adapter that is wanted no more, or is left out, and answers nothing; tell whether there was one."""
        left_out = {name for name, one in self._held.items() if one.state == "LeftOut"}
        for name in sorted(self._watch.holds.keys() - (self._wanted().keys() - left_out) - self._watch.doubtful):
            leaving = self._held.get(name)
            if name in self._in_flight.served:
                if leaving is not None and leaving.leaves_at is not None and _now() < leaving.leaves_at:
                    continue
                self._in_flight.cut_one(name)
            await self._unload(name)
            log.info("adapter %s is unloaded", name, extra=event("AdapterUnloaded", adapter=name))
            if leaving is not None and name not in self.list.entries:
                self._forget(name)
            return True
        return False

    async def _unload(self, name: str) -> None:
        holds = self._watch.holds
        with self._moved(name):
            await self._engine.unload(name)
            holds.pop(name, None)

    @contextmanager
    def _moved(self, name: str) -> Iterator[None]:
        """Tell the watch of a change in the engine. Without an answer nobody knows whether it happened."""
        watch, moving = self._watch, self._watch.moving
        moving.add(name)
        try:
            yield
        except EngineFailure:
            watch.doubtful.add(name)
            raise
        finally:
            moving.discard(name)

    async def _load_one(self) -> bool:
        """Load and probe one adapter that was fetched; tell whether there was one."""
        now = _now()
        for name in sorted(self._wanted().keys() & self._held.keys() - self._watch.doubtful):
            found = self._held[name]
            tried = found.state == "LeftOut" and found.not_before == FOREVER
            if found.fetched is None or found.state == "Ready" or tried or found.not_before > now:
                continue
            if name not in self._watch.holds and len(self._watch.holds) >= self._most:
                found.wait(f"waits for a slot: the engine holds {self._most} adapters", now + SOON_SECONDS)
                continue
            await self._load(name, found)
            return True
        return False

    async def _load(self, name: str, found: Held) -> None:
        """Bring one adapter into the engine and judge it there. Raises ``EngineFailure``."""
        fetched, entry = found.fetched, found.entry
        if fetched is None:
            return
        holds = self._watch.holds
        if holds.get(name) not in (None, fetched.folder):
            await self._unload(name)
        if name not in holds:
            holds[name] = fetched.folder
            self._watch.late.pop(name, None)
            try:
                with self._moved(name):
                    await self._engine.load(name, fetched.folder)
            except AdapterRefused as error:
                self._watch.doubtful.add(name)  # It refuses as well what it holds since a try whose answer was lost.
                found.leave_out("Files", str(error), _now() + RETRY_SECONDS)
                found.fetched = None
                _tell(found)
                return
        verdict = await self._judge.judge(name, fetched.probe)
        if not self._watch.well or self._watch.holds is not holds or not self._watch.check_base():
            return  # All that was found out is about an engine that is gone.
        if found.entry != entry or name not in self._wanted():
            return
        if verdict.cause is None:
            found.begin()
            found.state = "Ready"
            self._announce()
        else:
            # What scored otherwise is not asked again in this engine: asked often enough, some day it might score right.
            found.leave_out(
                verdict.cause, verdict.reason, FOREVER if verdict.cause == "Probe" else _now() + RETRY_SECONDS
            )
            await self._unload(name)
        _tell(found)

    def _announce(self) -> None:
        ready = (name for name, one in self._held.items() if one.state == "Ready" and one.leaves_at is None)
        names = frozenset(ready) if self._watch.well else frozenset()
        if names != self._announced:
            self._announced = names
            self._changed(names)

    def _settle(self) -> None:
        """Say once that everything is judged. After that a new adapter keeps no client away from the others."""
        if self._settled or not self.list.known or not self._watch.well:
            return
        wanted = self._wanted()
        must = wanted.keys() if self._must is None else wanted.keys() & self._must
        self._settled = all(name in self._held and self._held[name].judged for name in must)

    async def _tidy(self) -> None:
        """Have the folders removed that neither the list nor the engine needs."""
        if not self._settled:
            return
        loaded = {folder.rpartition("/")[2] for folder in self._watch.holds.values()}
        digests = {one.entry.digest for one in self._held.values()}
        needed = frozenset(digests | {f"sha256:{name}" for name in loaded if name not in map(folder_of, digests)})
        if needed != self._kept:
            with contextlib.suppress(NotNow):
                await self._fetching.keep(needed)
                self._kept = needed


def _tell(found: Held) -> None:
    name = found.entry.served_name
    log.info(
        "adapter %s: %s %s",
        name,
        found.state,
        found.reason,
        extra=event("AdapterJudged", adapter=name, state=found.state, reason=found.reason),
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
