"""HTTP endpoints for the kubelet and Prometheus, on a thread that answers even when the event loop hangs.

`/healthz` asks only about this process: whether the loop turns and no reconcile hangs. It never asks the API server or
MLflow: restarting the operator does not repair those. `/readyz` says whether it stands by or leads with a first listing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tunegate.listening import EveryAddressServer

logger = logging.getLogger(__name__)

LOOP_LAG_LIMIT = 30.0
"""Seconds without a turn of the event loop after which the process counts as hung."""
RECONCILE_LIMIT = 600.0
"""Seconds after which one reconcile counts as hung."""


@dataclass
class Health:
    """What the process says about itself; written by the event loop, read by the HTTP thread."""

    clock: Callable[[], float] = time.monotonic
    ready: bool = False
    detail: str = "starting"
    _last_beat: float | None = None
    _running: dict[object, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_ready(self, detail: str) -> None:
        """Say that the process may get traffic: it leads, or stands by."""
        self.ready, self.detail = True, detail

    def beat(self) -> None:
        """Note that the event loop turns."""
        self._last_beat = self.clock()

    def began(self, what: object) -> None:
        """Note that a worker began a reconcile."""
        with self._lock:
            self._running[what] = self.clock()

    def ended(self, what: object) -> None:
        """Note that a worker ended it."""
        with self._lock:
            self._running.pop(what, None)

    def problems(self) -> list[str]:
        """Return why the process should be restarted; empty when it should not."""
        now = self.clock()
        found = []
        if self._last_beat is not None and now - self._last_beat > LOOP_LAG_LIMIT:
            found.append(f"the event loop has not turned for {now - self._last_beat:.0f} s")
        with self._lock:
            hung = [(what, now - since) for what, since in self._running.items() if now - since > RECONCILE_LIMIT]
        return found + [f"{what} has been reconciled for {seconds:.0f} s" for what, seconds in hung]

    async def keep_beating(self) -> None:
        """Beat once a second, for as long as the event loop turns."""
        while True:
            self.beat()
            await asyncio.sleep(1.0)


def serve(health: Health, registry: CollectorRegistry, port: int) -> ThreadingHTTPServer:
    """Start the endpoints on all addresses and return the server; ``shutdown()`` stops it. Port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/healthz":
                problems = health.problems()
                self._answer(503 if problems else 200, "\n".join(problems) or "ok")
            elif path == "/readyz":
                self._answer(200 if health.ready else 503, health.detail)
            elif path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            else:
                self._answer(404, "there are /healthz, /readyz and /metrics")

        def _answer(self, code: int, body: str | bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            data = body.encode() + b"\n" if isinstance(body, str) else body
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds: they are not logged."""

    class Server(EveryAddressServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A prober that gave up while we answered is no fault of ours: debug level, no traceback on standard error."""
            logger.debug("health request of %s was not answered", client_address, exc_info=True)

    server = Server(port, Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
