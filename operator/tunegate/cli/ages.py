"""How long ago something was. Pure."""

from __future__ import annotations

from datetime import datetime

UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def age(created: str, now: datetime) -> str:
    """Return how long ago a time of the API was, in its largest unit; "-" for none."""
    if not created:
        return "-"
    seconds = max(int((now - datetime.fromisoformat(created)).total_seconds()), 0)
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (1, "s"))
    return f"{seconds // size}{unit}"
