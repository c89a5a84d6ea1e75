"""Watches the engine: whether it is well, whether it is still the one that was asked, and that it holds nothing but what may be held.

An engine that was away, or was started again, however soon, counts as another one: nothing that was found out about it holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import PurePosixPath

from tunegate.api.manifest import HashedFolder
from tunegate.api.serving import FOLDER, EngineState, fits
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.base_files import changed
from tunegate.gateway.engine import Engine, EngineFailure
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
POLL_SECONDS = 2.0
PATIENCE = 3
"""Looks in a row at which the engine has to fail before it counts as gone: under load an answer may take its time."""


class EngineWatch:
    """State of the engine. ``told`` is called whenever it may be asked, and whenever it may not be any more."""

    def __init__(self, engine: Engine, base: HashedFolder, adapters: str, told: Callable[[], None]) -> None:
        self._engine = engine
        self._base = base
        self._adapters = PurePosixPath(adapters)
        self._told = told
        self._instance: tuple[int, int, int] | None = None
        """Which start of the engine is known."""
        self._failures = 0
        self._message = "the engine is starting"
        self.state: EngineState = "Starting"
        self.holds: dict[str, str] = {}
        """Adapters that the engine was told to hold and not yet to forget, each with its folder. Whoever tells it so writes it here:
        before the engine is told to hold one, and after it has forgotten one."""
        self.moving: set[str] = set()
        """Those of them that the engine is being told about now."""
        self.doubtful: set[str] = set()
        """Those of them about which the engine gave no answer, or refused: the next look says whether it holds them."""
        self.late: dict[str, str] = {}
        """What it did not hold at such a look, each with its folder: it may be loading it still."""

    @property
    def well(self) -> bool:
        """Whether the engine that listens now is the known one, and holds nothing that it may not hold."""
        return self.state == "Ready" and self._engine.instance() == self._instance

    @property
    def message(self) -> str:
        """Return why nothing can be asked now; empty when something can."""
        return "" if self.well else self._message or "the engine was started again"

    async def watch(self) -> None:
        """Follow the engine, forever."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Look at the engine once."""
        if self._instance is not None and self._engine.instance() != self._instance:
            self.lose("the engine was started again")
        instance = self._engine.instance()
        try:
            if not await self._engine.healthy():
                raise EngineFailure("it does not answer")
            before, moving = dict(self.holds), set(self.moving)
            models = await self._engine.models()
        except EngineFailure as error:
            self._fail(error)
            return
        models.pop(BASE_SERVED_NAME, None)
        if self._instance is None:
            if instance is None or instance != self._engine.instance():
                self._fail(EngineFailure("it was started again meanwhile"))
                return
            self._begin(instance, models)
            return
        self._failures = 0
        for name in self.late.keys() & models.keys() - before.keys() - self.holds.keys():
            if models[name] == self.late[name]:
                self.holds[name] = self.late.pop(name)
        strangers = {name for name, folder in models.items() if folder not in (before.get(name), self.holds.get(name))}
        for name in self.doubtful - moving - self.moving:
            if name not in models and name in self.holds:
                self.late[name] = self.holds.pop(name)
            self.doubtful.discard(name)
        settled = before.keys() & self.holds.keys() - moving - self.moving - self.doubtful
        if strangers:
            self._tampered(strangers)
        elif gone := sorted(settled - models.keys()):
            self.lose(f"the engine does not hold {', '.join(gone)[:300]} any more")

    def check_base(self) -> bool:
        """Tell whether the base model's files are still those that were hashed when the pod started; else nothing is asked."""
        if (file := changed(self._base)) is None:
            return True
        self.lose(
            f"the base model's file {file} was replaced or written to after it was hashed: delete the pod once the volume is right "
            "again"
        )
        self.state = "Tampered"
        return False

    def lose(self, message: str) -> None:
        """Forget the engine until it was looked at again."""
        known = self._instance is not None
        if self.state != "Starting":
            self.state = "Unhealthy"
        self._instance, self._message, self._failures = None, message, 0
        self.holds, self.moving, self.doubtful, self.late = {}, set(), set(), {}
        if known:
            log.error(
                "adapters are taken out until they are probed again: %s",
                message,
                extra=event("AdaptersTakenOut", why=message),
            )
            self._told()

    def _begin(self, instance: tuple[int, int, int], models: dict[str, str]) -> None:
        """Know this start of the engine. What an earlier gateway had it hold may be there: it is probed or unloaded."""
        strangers = {name for name, folder in models.items() if not self._ours(name, folder)}
        if strangers:
            self._tampered(strangers)
        elif self.check_base():
            self._instance, self.holds, self._failures = instance, models, 0
            self.state, self._message = "Ready", ""
            self._told()

    def _ours(self, name: str, folder: str) -> bool:
        """Tell whether a gateway of this pod may have loaded this: verified bytes, under the name of these bytes."""
        path = PurePosixPath(folder)
        verified = path.parent == self._adapters and FOLDER.fullmatch(path.name) is not None
        return verified and fits(name, path.name)

    def _tampered(self, strangers: set[str]) -> None:
        names = ", ".join(sorted(strangers))[:300]
        self.lose(f"the engine answers to names that nobody approved: {names}")
        self.state = "Tampered"

    def _fail(self, error: EngineFailure) -> None:
        self._failures += 1
        if self._instance is None or self._failures >= PATIENCE:
            starting = self.state == "Starting"
            self.lose("the engine is starting" if starting else f"the engine fails: {error}")
