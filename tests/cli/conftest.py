"""The governed namespace and the smart card, shared by all tests of this folder."""

from __future__ import annotations

from tests.governance.governed import world
from tests.software_token import token

__all__ = ["token", "world"]
