"""Work on texts of clients that could hold up everybody, done in processes beside the event loop.

Parsing JSON holds Python's interpreter lock from the first byte to the last, so threads do not help. Small texts are
worked on at once; larger ones go to one of a few processes, which have bounds on memory and time, hold no credential, and
are replaced when they overstep one. A client has at most one text there at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import struct
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from tunegate.gateway.bodies import Checked, check_body
from tunegate.gateway.endpoints import ErrorForm
from tunegate.gateway.errors import ApiError
from tunegate.gateway.problems import Problem
from tunegate.gateway.stream import Rewritten, rewrite_answer
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
INLINE_BYTES = 8 * 1024
"""A text of this size takes a millisecond or two at worst."""
PROCESSES = 2
WORK_SECONDS = 5.0
"""For one text. The largest that is allowed takes a fifth of a second."""
MODULE = "tunegate.gateway.inspector"
T = TypeVar("T")


class Overloaded(Exception):
    """A text could not be worked on within its bounds."""


class Inspection:
    """The processes, and what they can do."""

    def __init__(self, processes: int = PROCESSES) -> None:
        self._count = processes
        self._idle: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        self._running: set[asyncio.subprocess.Process] = set()

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            self._idle.put_nowait(None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in list(self._running):
            await self._end(process)

    async def body(self, endpoint: str, raw: bytes) -> Checked:
        """Check a request's body. Raises ``ApiError``."""
        found: Checked | Problem
        if len(raw) <= INLINE_BYTES:
            found = check_body(endpoint, raw)
        else:
            try:
                found = await self._call(check_body, endpoint, raw)
            except Overloaded as error:
                raise ApiError(503, "body_too_hard", f"this body {error}; send a simpler one", retry_after=1) from error
        if isinstance(found, Problem):
            raise ApiError.of(found)
        return found

    async def answer(self, raw: bytes, served: str, public: str, status: int, form: ErrorForm) -> Rewritten | None:
        """Put the public name into an engine's answer; None when it is no JSON object. Raises ``Overloaded``."""
        if len(raw) <= INLINE_BYTES:
            return rewrite_answer(raw, served, public, status, form)
        return await self._call(rewrite_answer, raw, served, public, status, form)

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        process = await self._idle.get()
        work = asyncio.ensure_future(self._work(process, function, *arguments))
        # A client that goes away meanwhile takes no process with it: starting one again would cost more than the text.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(work)

    async def _work(self, process: asyncio.subprocess.Process | None, function: Callable[..., T], *arguments: Any) -> T:
        kept: asyncio.subprocess.Process | None = None
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            async with asyncio.timeout(WORK_SECONDS):
                done, result = await _exchange(process, pickle.dumps((function.__name__, arguments)))
            kept = process
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            log.warning(
                "a text of a client could not be worked on: %s",
                type(error).__name__,
                extra=event("InspectionFailed", error=type(error).__name__),
            )
            raise Overloaded("could not be read within the bounds on time and memory") from error
        finally:
            if kept is None and process is not None:
                await asyncio.shield(self._end(process))
            self._idle.put_nowait(kept)
        if not done:
            raise Overloaded("could not be read within the bounds on memory")
        return result  # type: ignore[no-any-return]

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        self._running.add(process)
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._running.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _exchange(process: asyncio.subprocess.Process, message: bytes) -> tuple[bool, Any]:
    if process.stdin is None or process.stdout is None:
        raise OSError("the process has no pipes")
    process.stdin.write(struct.pack(">I", len(message)) + message)
    await process.stdin.drain()
    (size,) = struct.unpack(">I", await process.stdout.readexactly(4))
    done, result = pickle.loads(await process.stdout.readexactly(size))  # noqa: S301 - our own process
    return bool(done), result
