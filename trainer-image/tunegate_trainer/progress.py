"""Progress of a stage over HTTP: the operator asks the pod, so that the pod needs no credential of the cluster.

Training runs in other processes than the server: they leave their report in a file, which the server prefers.
"""

from __future__ import annotations

import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pydantic import ValidationError

from tunegate.api.stage.ends import ProgressReport
from tunegate.listening import EveryAddressServer

log = logging.getLogger(__name__)


class ProgressBoard:
    """The latest report. Safe to use from several threads."""

    def __init__(self, stage: str, file: Path | None = None) -> None:
        """``file`` is where another process of the pod writes a newer report."""
        self._stage = stage
        self._file = file
        self._report = ProgressReport(stage=stage, percent=0)
        self._seen = self._report
        self._since = time.monotonic()

    def show(
        self,
        percent: float,
        message: str = "",
        *,
        step: int = 0,
        total_steps: int = 0,
        loss: float | None = None,
        remaining_seconds: float | None = None,
    ) -> None:
        """Replace the report; ``percent`` is cut to 0…100."""
        self._report = ProgressReport(
            stage=self._stage,
            percent=max(0, min(100, int(percent))),
            step=step,
            total_steps=total_steps,
            loss=loss,
            remaining_seconds=None if remaining_seconds is None else max(0, int(remaining_seconds)),
            message=message,
        )

    def latest(self) -> ProgressReport:
        """Return the newest report, with the time since it was first seen to be this one."""
        report = self._newest()
        if report != self._seen:
            self._seen, self._since = report, time.monotonic()
        return report.model_copy(update={"unchanged_seconds": int(time.monotonic() - self._since)})

    def _newest(self) -> ProgressReport:
        """Return the other process's report where there is one, else our own."""
        if self._file is not None:
            try:
                return ProgressReport.model_validate_json(self._file.read_bytes())
            except (OSError, ValidationError):
                pass  # not written yet
        return self._report


def write_report(file: Path, report: ProgressReport) -> None:
    """Put a report where ``ProgressBoard`` finds it, never half of one."""
    draft = file.with_suffix(".draft")
    draft.write_text(report.model_dump_json(by_alias=True))
    draft.replace(file)


def serve(board: ProgressBoard, port: int) -> ThreadingHTTPServer:
    """Answer ``GET /progress`` on every address at ``port`` (0: any free one) from a daemon thread. Raises ``OSError`` when it is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/progress":
                self.send_error(404)
                return
            content = board.latest().model_dump_json(by_alias=True).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            log.debug(format, *args)

    server = EveryAddressServer(port, Handler)
    threading.Thread(target=server.serve_forever, name="progress", daemon=True).start()
    return server
