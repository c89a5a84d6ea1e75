"""`python -m tunegate adapters`: fetches and removes the adapters of a serving pod, as the gateway asks it to over a Unix socket.

It has no Kubernetes token and decides nothing: what may be held, and the credential that opens it, come with each question. What it
adds is that no byte reaches the engine that people did not approve.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from pydantic import ValidationError

from tunegate.api import serving
from tunegate.api.serving import FetchRequest, KeepRequest, Refusal, ServerDocument
from tunegate.api.stage.ends import ExitCode
from tunegate.logs import JsonLines, event, kinds
from tunegate.mounted import ConfigurationDiffers
from tunegate.registry.failures import RegistryError
from tunegate.serving.check import BadInput, server_document
from tunegate.serving.fetching import Adapters, LeftOut, Places

log = logging.getLogger("tunegate.serving")
AT_ONCE = 2
"""Adapters that are fetched at a time."""
LARGEST_QUESTION = 4 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sidecar:
    """Answers the gateway. A question whose asker left is carried to its end: asked again, its answer is there."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        self._places = asyncio.Semaphore(AT_ONCE)
        self._folders: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def app(self) -> web.Application:
        """Return what answers on the socket."""
        app = web.Application(client_max_size=LARGEST_QUESTION, middlewares=[_understood])
        app.router.add_post("/fetch", self._fetch)
        app.router.add_post("/keep", self._keep)
        return app

    async def _fetch(self, request: web.Request) -> web.Response:
        asked = FetchRequest.model_validate_json(await request.read())
        name = asked.entry.served_name
        async with self._folders[asked.entry.digest], self._places:
            try:
                found = await asyncio.to_thread(self._adapters.fetch, asked.entry, asked.auth)
            except LeftOut as error:
                log.warning(
                    "adapter %s is left out: %s", name, error, extra=event("AdapterRefused", adapter=name, why=error)
                )
                return _answer(422, Refusal(reason=str(error)[:1000]))
            except (RegistryError, OSError) as error:
                log.warning(
                    "adapter %s cannot be fetched now: %s",
                    name,
                    error,
                    extra=event("AdapterNotFetched", adapter=name, why=error),
                )
                return _answer(503, Refusal(reason=str(error)[:1000]))
        log.info(
            "adapter %s is verified", name, extra=event("AdapterVerified", adapter=name, digest=asked.entry.digest)
        )
        return _answer(200, found)

    async def _keep(self, request: web.Request) -> web.Response:
        asked = KeepRequest.model_validate_json(await request.read())
        removed = await asyncio.to_thread(self._adapters.keep, asked.digests)
        if removed:
            log.info("%d adapters are removed", len(removed), extra=event("AdaptersRemoved", digests=removed))
        return web.Response(status=204)


def _answer(status: int, document: serving.Fetched | Refusal) -> web.Response:
    return web.Response(status=status, text=document.model_dump_json(by_alias=True), content_type="application/json")


@web.middleware
async def _understood(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what cannot be understood without repeating it: it may hold a credential."""
    try:
        return await handler(request)
    except ValidationError as error:
        return _answer(400, Refusal(reason=f"the question has {error.error_count()} errors"))
    except web.HTTPException:
        raise
    except Exception as error:
        log.error("a question failed: %s", kinds(error), extra=event("RequestFailed", error=kinds(error)))
        return _answer(503, Refusal(reason=f"it failed: {kinds(error)}"))


@asynccontextmanager
async def running(server: ServerDocument, places: Places, socket: Path) -> AsyncIterator[None]:
    """Listen until the block ends. A socket that an earlier run left is replaced."""
    adapters = await asyncio.to_thread(Adapters, server, places)
    runner = web.AppRunner(Sidecar(adapters).app(), access_log=None)
    await runner.setup()
    try:
        await asyncio.to_thread(socket.unlink, True)
        await web.UnixSite(runner, str(socket)).start()
        yield
    finally:
        await runner.cleanup()


async def serve(server: ServerDocument) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(server, Places(), Path(serving.FETCH_SOCKET)):
        await stop.wait()


def main(config_digest: str) -> int:
    """Run in the pod. ``config_digest``: of the documents that the pod was made with."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        server = server_document(Path(serving.CONFIG_DIR), config_digest)
    except ConfigurationDiffers as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIGURATION_DIFFERS
    except BadInput as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(server))
    return 0
