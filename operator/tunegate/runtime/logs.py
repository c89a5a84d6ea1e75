"""The operator's log: kopf, libraries and ours in one form, with the object and the reconcile that a line belongs to."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping

from tunegate.controllers.context import current
from tunegate.logs import JsonLines


class OperatorLines(JsonLines):
    """Adds `object`, `reconcile` and `controller` where they are known; errors keep their traceback."""

    def context_of(self, record: logging.LogRecord) -> Mapping[str, object]:
        """Return object and reconcile, of ours or as kopf names it."""
        context = current()
        if context is not None:
            return {"object": context.object, "reconcile": context.reconcile_id, "controller": context.controller}
        reference = getattr(record, "k8s_ref", None)
        if not isinstance(reference, Mapping):
            return {}
        return {"object": {key: reference[key] for key in ("kind", "namespace", "name", "uid") if reference.get(key)}}

    def text_of(self, error: BaseException) -> str:
        """Return the traceback: the operator reads no rows and no answers."""
        return "".join(traceback.format_exception(error)).rstrip()


def configure(level: str) -> None:
    """Send every log line as JSON to standard error; replaces handlers that libraries installed."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OperatorLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # kopf tells at INFO that each handler succeeded; our handlers only put keys into queues.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    for chatty in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
