"""Which reconcile is running in this task: for log lines."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class ReconcileContext:
    """One reconcile of one object."""

    controller: str
    object: dict[str, str]
    reconcile_id: str


_current: ContextVar[ReconcileContext | None] = ContextVar("reconcile", default=None)


def current() -> ReconcileContext | None:
    """Return the reconcile of this task, None outside one."""
    return _current.get()


@contextmanager
def reconciling(controller: str, kind: str, namespace: str, name: str) -> Iterator[ReconcileContext]:
    """Mark everything inside as one reconcile."""
    described = {"kind": kind, "namespace": namespace, "name": name}
    context = ReconcileContext(controller, {k: v for k, v in described.items() if v}, secrets.token_hex(4))
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
