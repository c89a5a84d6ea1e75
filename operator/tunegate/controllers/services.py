"""What a controller is given: one bundle, made once by the runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import AuditEntry
from tunegate.settings import Settings

if TYPE_CHECKING:
    from tunegate.registry.client import RegistryClient
