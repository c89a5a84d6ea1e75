"""How long the operator waits for anything outside itself, in total, and threads that can be given up.

Limits for each read or each try add up, and a limit for each read is none against a sender of one byte a second. So whatever
the operator asks has one limit for the whole call, and this is the list of them. Some calls block a thread that nobody can
end, as a read in a folder whose file server is gone does: each kind has a few threads of its own, so that it takes none
from another.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tunegate.errors import Transient

API_SERVER_SECONDS = 30.0
"""One request to the API server; a page of a long list takes a few."""
REGISTRY_SECONDS = 10.0
"""One request to the registry: all tries, token service and body."""
REGISTRY_CALL_SECONDS = 30.0
"""What one step wants of the registry: a document is two requests, storing one is up to six."""
SIGNING_SECONDS = 120.0
"""Reading and attaching all evidence of a release: some thirty requests."""
ANCHORS_SECONDS = 120.0
"""Reading one place of anchors: a bucket has a listing and up to 40 checkpoints."""
ANCHOR_SECONDS = 60.0
"""Bringing one checkpoint to one place."""
STORE_REQUEST_SECONDS = 20.0
"""One request to the store of a bucket."""
MLFLOW_SECONDS = 120.0
"""One record in MLflow, the import of its library included."""
MLFLOW_ANCHOR_SECONDS = 8.0
"""Reading the checkpoint that MLflow shows, which nothing depends on: shorter than appending waits for anchors."""
TIME_AUTHORITY_SECONDS = 15.0
PROGRESS_SECONDS = 2.0
"""A stage that says how far it is."""
GATEWAY_SECONDS = 3.0

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads for one kind of blocking calls, of one event loop. A call that hangs keeps its thread until it ends."""

    def __init__(self, name: str, size: int, failure: Callable[[str], Transient] = Transient) -> None:
        """``name`` says in errors what did not answer, ``failure`` makes them."""
        self._name = name
        self._failure = failure
        self._free = asyncio.Semaphore(size)

    async def call(self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns in a thread. Raises what it raises, and a ``Transient`` after so many ``seconds``.

        Waiting for a free thread counts, so that a few calls that hang make all later ones of their kind fail in time.
        Threads end with the process: none of them holds up its exit.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
                return await self._started(lambda: work(*args, **kwargs))
        except TimeoutError as error:
            raise self._failure(f"{self._name} did not answer within {seconds:g} s") from error

    def _started(self, work: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def ended(result: T | None, error: BaseException | None) -> None:
            self._free.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result, failure = None, None
            try:
                result = context.run(work)
            except BaseException as error:
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended, result, failure)

        try:
            threading.Thread(target=run, name=self._name, daemon=True).start()
        except RuntimeError as error:
            # The pod may have no more threads: what was taken for this call has to be there for the next one.
            self._free.release()
            raise self._failure(f"{self._name} cannot be asked: {error}") from error
        return answer
