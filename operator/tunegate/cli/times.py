"""Moments and lengths of time as people write them on the command line."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """Return the seconds of a text such as `30s`, `90m`, `24h` or `7d`. Raises ``ArgumentTypeError``."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", text)
    if not found:
        raise ArgumentTypeError(f"{text!r}: expected a number and s, m, h or d, e.g. 90s or 24h")
    return int(found[1]) * SECONDS[found[2]]


def moment(text: str) -> datetime:
    """Read a time such as 2026-11-24T12:00:00Z or a day; without a zone it is UTC. Raises ``ArgumentTypeError``."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r}: expected a time such as 2026-11-24T12:00:00Z, or a day") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
