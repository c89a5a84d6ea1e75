"""What the gateway answers on its two ports: to clients, and to the operator and Prometheus."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tunegate.gateway.endpoints import ENDPOINTS, error_form
from tunegate.gateway.errors import ApiError
from tunegate.gateway.gateway import Gateway
from tunegate.logs import event, kinds

log = logging.getLogger("tunegate.gateway")


def client_app(gateway: Gateway, body_bytes: int) -> web.Application:
    """Return the application of the client port: these paths and no other exist."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readiness(_: web.Request) -> web.Response:
        # Anyone who reaches the port may ask. Why it is not ready names releases and registries: that is for the status port.
        ready = gateway.ready
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    app = web.Application(middlewares=[_errors(gateway)], client_max_size=body_bytes)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", readiness)
    app.router.add_get("/v1/models", gateway.proxy.models)
    app.router.add_get("/v1/models/{name}", gateway.proxy.model)
    for path in ENDPOINTS:
        app.router.add_post(path, gateway.proxy.answer)
    return app


def _errors(gateway: Gateway) -> Any:
    """Return what turns every error into an answer of one form; an error that is a defect is logged without its text."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            gateway.metrics.refused.labels(error.code).inc()
            return error.response(error_form(request.path))
        except web.HTTPException as error:
            refusal = _refusal(request, error)
            gateway.metrics.refused.labels(refusal.code).inc()
            return refusal.response(error_form(request.path))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except web.RequestPayloadError:
            gateway.metrics.refused.labels("body_broken").inc()
            broken = ApiError(400, "body_broken", "the request's body did not arrive as its headers say")
            return broken.response(error_form(request.path))
        except Exception as error:
            gateway.metrics.refused.labels("internal_error").inc()
            log.error(
                "a request failed in a way that nobody foresaw: %s",
                kinds(error),
                extra=event("RequestFailed", error=kinds(error)),
            )
            failed = ApiError(500, "internal_error", "the gateway failed at this request")
            return failed.response(error_form(request.path))

    return errors


def _refusal(request: web.Request, error: web.HTTPException) -> ApiError:
    if error.status in {404, 405}:
        text = (
            f"there is no {request.method[:16]} here: GET /v1/models, GET /v1/models/NAME, POST {', '.join(ENDPOINTS)}"
        )
        return ApiError(error.status, "no_such_endpoint", text)
    return ApiError(error.status, "malformed_request", "this is no HTTP request that the gateway accepts")


def status_app(gateway: Gateway) -> web.Application:
    """Return the application of the status port: for the operator and Prometheus, no secrets, no models."""

    async def status(_: web.Request) -> web.Response:
        return web.json_response(gateway.status().to_dict())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(gateway.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/status", status)
    app.router.add_get("/metrics", metrics)
    return app
