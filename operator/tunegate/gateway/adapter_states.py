"""What this pod can answer with: watches the engine, and probes every adapter before it may answer.

An adapter counts as held only after recorded answers scored as they did at evaluation (``tunegate.probes``). When the
engine was away or was started again, however soon, nothing is held until every adapter was probed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tunegate.api.modelserver import LeftOutCause
from tunegate.api.serving import EngineState, GatewayAdapter, PullReport
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.api.stage.probe import Probe
from tunegate.base_files import changed
from tunegate.gateway.engine import Engine, EngineFailure
from tunegate.logs import event
from tunegate.probes import Scored, drive, matches, score_answer

log = logging.getLogger("tunegate.gateway")
POLL_SECONDS = 2.0
TRIES = 3
"""Probes that could not be asked to the end; a probe that was and failed is not repeated."""
PATIENCE = 3
"""Looks in a row at which the engine has to fail before it counts as gone: under load an answer may take its time."""
QUIET_SECONDS = 30.0


class BaseReplaced(Exception):
    """The engine may have read other weights than those that were hashed."""


class AdapterStates:
    """State of the engine and of each adapter.

    ``changed`` is told the names that may answer, whenever they change; ``quiet`` waits until no client is being answered
    and tells whether it came to that within its seconds.
    """

    def __init__(
        self,
        engine: Engine,
        report: PullReport,
        changed: Callable[[frozenset[str]], None],
        quiet: Callable[[float], Awaitable[bool]],
    ) -> None:
        self._engine = engine
        self._quiet = quiet
        self._probes = report.probes
        self.asked_as = report.asked_as
        """How the gate asked each adapter, by served name."""
        self._base = report.base
        self._changed = changed
        self._left_out = tuple(
            GatewayAdapter(
                served_name=entry.served_name,
                release=entry.release,
                state="LeftOut",
                cause=entry.cause,
                reason=entry.reason,
            )
            for entry in report.adapters
            if entry.state == "LeftOut"
        )
        self._releases = {entry.served_name: entry.release for entry in report.adapters if entry.state == "Verified"}
        self._verdicts: dict[str, GatewayAdapter] = {}
        self._probed = False
        self._instance: tuple[int, int, int] | None = None
        """Which start of the engine the probes asked."""
        self._failures = 0
        self.engine_state: EngineState = "Starting"
        self._message = "the engine is starting"

    @property
    def ready(self) -> bool:
        """Whether every adapter was judged, for better or worse, in the engine that listens now."""
        return self.engine_state == "Ready" and self._engine.instance() == self._instance

    @property
    def message(self) -> str:
        """Return why nothing can be asked now; empty when something can."""
        return "" if self.ready else self._message or "the engine was started again"

    @property
    def adapters(self) -> list[GatewayAdapter]:
        """Every adapter that the pod was given, with its state."""
        loading = [
            GatewayAdapter(served_name=name, release=release, state="Loading")
            for name, release in self._releases.items()
            if name not in self._verdicts
        ]
        return sorted([*self._left_out, *self._verdicts.values(), *loading], key=lambda entry: entry.served_name)

    async def watch(self) -> None:
        """Follow the engine, forever."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Look at the engine once and do what that calls for."""
        try:
            if self._probed and self._engine.instance() != self._instance:
                self._lose("the engine was started again")
            if not await self._engine.healthy():
                raise EngineFailure("it does not answer")
            strangers = await self._engine.models() - {BASE_SERVED_NAME, *self._releases}
            if strangers:
                self._lose(f"the engine answers to names that nobody approved: {', '.join(sorted(strangers))[:300]}")
                self.engine_state = "Tampered"
                return
            if not self._probed:
                # Before and after the probes: the engine may read its weights at any time until it is ready.
                self._compare_base()
                instance = self._engine.instance()
                await self._probe_all()
                if self._engine.instance() != instance:
                    raise EngineFailure("it was started again while adapters were probed")
                self._compare_base()
                self._instance = instance
                self._announce()
        except BaseReplaced as error:
            self._lose(str(error))
            self.engine_state = "Tampered"
            return
        except EngineFailure as error:
            self._failures += 1
            if not self._probed or self._failures >= PATIENCE:
                starting = self.engine_state == "Starting"
                self._lose("the engine is starting" if starting else f"the engine fails: {error}")
            return
        self._failures = 0
        self.engine_state, self._message = "Ready", ""

    def _lose(self, message: str) -> None:
        if self.engine_state != "Starting":
            self.engine_state = "Unhealthy"
        self._message = message
        if self._probed or self._verdicts:
            log.error(
                "adapters are taken out until they are probed again: %s",
                message,
                extra=event("AdaptersTakenOut", why=message),
            )
            self._probed = False
            self._verdicts = {}
            self._changed(frozenset())

    async def _probe_all(self) -> None:
        names = sorted(self._releases)
        if names and not await self._quiet(QUIET_SECONDS):
            raise EngineFailure("clients are still being answered: adapters are probed when they are done")
        self._message = f"{len(names)} adapters are being probed"
        for name in names:
            self._verdicts[name] = await self._judge(name)
            log.info(
                "adapter %s: %s %s",
                name,
                self._verdicts[name].state,
                self._verdicts[name].reason,
                extra=event(
                    "AdapterJudged", adapter=name, state=self._verdicts[name].state, reason=self._verdicts[name].reason
                ),
            )

    def _announce(self) -> None:
        self._probed = True
        self._changed(frozenset(name for name, entry in self._verdicts.items() if entry.state == "Ready"))

    def _compare_base(self) -> None:
        """Raise ``BaseReplaced`` when a file of the base model is not the one that was hashed when the pod started."""
        if (file := changed(self._base)) is not None:
            raise BaseReplaced(
                f"the base model's file {file} was replaced or written to after it was hashed: delete the pod once the volume "
                "is right again"
            )

    async def _judge(self, name: str) -> GatewayAdapter:
        """Probe one adapter. Raises ``EngineFailure`` only when the engine itself went away."""
        reason = ""
        cause: LeftOutCause = "Probe"
        for _ in range(TRIES):
            try:
                verdict = matches(self._probes[name], await self._score(name, self._probes[name]))
            except (EngineFailure, ValueError) as error:
                if not await self._engine.healthy():
                    raise EngineFailure(str(error)) from error
                reason, cause = f"the probe could not be asked: {error}", "ProbeUnanswered"
                continue
            reason, cause = ("" if verdict.matched else verdict.reason), "Probe"
            break
        return GatewayAdapter(
            served_name=name,
            release=self._releases[name],
            state="LeftOut" if reason else "Ready",
            cause=cause if reason else None,
            reason=reason,
        )

    async def _score(self, name: str, probe: Probe) -> list[Scored]:
        """Score every recorded answer under the adapter and under the base, one after the other.

        Never two at once, and never beside a client's request: vLLM 0.32 with LoRA ends when a batch holds another
        request beside one with ``prompt_logprobs`` (`add_lora_logits`: "subscript b has size 3 … seen size 40").
        """
        return [
            Scored(
                tuned=await drive(score_answer(name, item.messages, item.answer), self._engine.ask),
                base=await drive(score_answer(BASE_SERVED_NAME, item.messages, item.answer), self._engine.ask),
            )
            for item in probe.items
        ]
