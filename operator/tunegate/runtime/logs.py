"""JSON logs: one format for kopf, for libraries and for us, with the object and the reconcile that a line belongs to."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tunegate.controllers.context import current


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `ts`, `level`, `logger`, `msg`, and where known `object`, `reconcile`, `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        context = current()
        if context is not None:
            line |= {"object": context.object, "reconcile": context.reconcile_id, "controller": context.controller}
        elif isinstance(reference := getattr(record, "k8s_ref", None), Mapping):
            line["object"] = {key: reference[key] for key in ("kind", "namespace", "name", "uid") if reference.get(key)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str) -> None:
    """Send every log line as JSON to standard error; replaces handlers that libraries installed."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # kopf tells at INFO that each handler succeeded; our handlers only put keys into queues.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    for chatty in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
