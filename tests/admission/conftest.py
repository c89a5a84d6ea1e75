"""The governed namespace, shared by all tests of this folder."""

from __future__ import annotations

from tests.governance.governed import world

__all__ = ["world"]
