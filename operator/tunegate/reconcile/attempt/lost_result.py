"""Result documents that cannot be had, and the form of objects as the API server gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class LostResult:
    """A result document that the registry does not have, or that is not what it should be."""

    why: str
