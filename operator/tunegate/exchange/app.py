"""`python -m tunegate exchange`: one port with TLS, in a pod of its own that may ask two questions and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from tunegate.api.pushed import KINDS, PART_BYTES
from tunegate.errors import Terminal, Transient
from tunegate.exchange import runs
from tunegate.exchange.identity import Identity
from tunegate.exchange.pushes import Pushes
from tunegate.exchange.rights import own_writing
from tunegate.exchange.settings import ExchangeSettings, from_environment
from tunegate.exchange.tokens import Tokens
from tunegate.gateway import logs
from tunegate.gateway.connections import ConnectionWatch
from tunegate.gateway.errors import ApiError
from tunegate.gateway.listeners import listen
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.settings import Limits
from tunegate.gateway.tls import Certificate
from tunegate.kube.client import KubeClient
from tunegate.logs import event
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import RegistryError, Unavailable
from tunegate.registry.tokens import ProgramCredential, TokenSigner

log = logging.getLogger("tunegate.exchange")
SUBJECT = "tunegate-exchange"
"""What the registry's log calls the exchange itself."""
BASE = f"/v1/namespaces/{{namespace:[a-z0-9-]{{1,63}}}}/{{kind:{'|'.join(KINDS)}}}"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def running(settings: ExchangeSettings) -> AsyncIterator[int]:
    """Run the exchange; gives its port. Raises ``OSError``, ``ValueError`` for files that are no keys."""
    certificate = Certificate(settings.tls) if settings.tls is not None else None
    limits = Limits(idle_seconds=30.0, connections=512, connections_each=256)
    async with await KubeClient.connect(settings.kubeconfig) as kube:
        identity = Identity(kube)
        async with runs.opened(settings, identity) as door:
            with _registry(settings, identity) as registry_routes:
                app = application([*registry_routes, *_runs_routes(door)])
                watch = ConnectionWatch(limits, Metrics())
                context = certificate.context if certificate is not None else None
                runner, server = await listen(app, settings.host, settings.port, watch, limits, context)
                tasks = [asyncio.create_task(watch.watch())]
                tasks += [asyncio.create_task(certificate.follow())] if certificate is not None else []
                try:
                    yield int(server.sockets[0].getsockname()[1])
                finally:
                    for task in tasks:
                        task.cancel()
                    server.close()
                    await runner.cleanup()


def application(routes: Sequence[web.RouteDef]) -> web.Application:
    """Return what answers."""
    app = web.Application(middlewares=[_answered], client_max_size=PART_BYTES + 1)

    async def healthy(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app.add_routes([web.get("/healthz", healthy), *routes])
    return app


@contextmanager
def _registry(settings: ExchangeSettings, identity: Identity) -> Iterator[list[web.RouteDef]]:
    """Give the addresses that are about the chart's registry; none where it runs none."""
    host, key, certificate = settings.registry_host, settings.registry_token_key, settings.registry_token_cert
    if host is None or key is None or certificate is None:
        yield []
        return
    signer = TokenSigner.from_files(key, certificate)
    with RegistryClient(
        host,
        plain_http=settings.registry_plain_http,
        ca_file=settings.ca_file,
        token_source=ProgramCredential(signer, subject=SUBJECT, writes=own_writing),
        total=60.0,
    ) as registry:
        yield _registry_routes(Tokens(identity, signer), Pushes(settings, identity, registry), identity)


def _registry_routes(tokens: Tokens, pushes: Pushes, identity: Identity) -> list[web.RouteDef]:
    async def token(request: web.Request) -> web.Response:
        caller = await identity.caller(request.headers.get("Authorization"))
        service = request.query.get("service", "")
        return web.json_response(await tokens.issue(caller, service, request.query.getall("scope", [])))

    part = BASE + "/{name}/parts/{digest}"
    return [
        web.get("/token", token),
        web.get(BASE, pushes.listed),
        web.head(part, pushes.has_part),
        web.put(part, pushes.store_part),
        web.post(BASE + "/{name}", pushes.complete),
        web.delete(BASE + "/{name}/{digest}", pushes.withdrawn),
    ]


def _runs_routes(door: runs.Runs | None) -> list[web.RouteDef]:
    if door is None:
        return []

    async def slash(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": runs.PREFIX.strip("/") + "/"})

    below = runs.PREFIX + "{path:.*}"
    return [web.get(runs.PREFIX.rstrip("/"), slash), web.get(below, door.shown), web.post(below, door.shown)]


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into an answer that says what to do and repeats nothing of the request."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPRequestEntityTooLarge:
        return ApiError(413, "too_large", f"a body has at most {PART_BYTES} bytes").response()
    except web.HTTPException as error:
        code = "not_found" if error.status == 404 else "not_allowed"
        return ApiError(error.status, code, "there is no such path, or not with this method").response()
    except (Unavailable, Transient):
        return ApiError(503, "registry_away", "the registry does not answer now; try again", retry_after=5).response()
    except RegistryError as error:
        log.error("the registry refuses: %s", error, extra=event("RegistryRefused", error=str(error)))
        return ApiError(
            502, "registry_refused", "the registry refuses; the platform team finds why in the log"
        ).response()
    except Exception as error:
        log.error("a request failed", exc_info=error, extra=event("RequestFailed"))
        return ApiError(500, "internal_error", "the exchange failed at this request").response()


async def serve(settings: ExchangeSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as port:
        log.info("the exchange listens on port %d", port, extra=event("ExchangeListens", port=port))
        await stop.wait()


def main() -> int:
    """Run in the pod."""
    logs.configure()
    try:
        settings = from_environment()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(settings))
    except (Terminal, Transient) as error:
        print(error.message, file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"the exchange cannot start: {error}", file=sys.stderr)
        return 1
    return 0
