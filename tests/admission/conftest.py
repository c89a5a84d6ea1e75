"""The governed namespace, shared by all tests of this folder."""

from __future__ import annotations

from tests.support.governed_namespace import world

__all__ = ["world"]
