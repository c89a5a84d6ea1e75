"""How full the volume of the chart's registry is, as the operator last wrote it down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from tunegate.api.conditions import from_rfc3339
from tunegate.cli.doctor.check import Check
from tunegate.registry.stored import ROOM_KEY, WARNING_PERCENT, Room

NAME = "room in the registry"
FULL_PERCENT = 95
STALE = timedelta(minutes=30)
ADVICE = "enlarge its claim, or free what nobody names (docs/operate.md, Room in the registry)"
SILENT = "look at the operator's log for RegistryRoomUnread, and at container volume of deployment/tunegate-registry"


def judge(config_map: Mapping[str, Any] | None, now: datetime) -> Check:
    """Judge what the operator wrote down; None: it wrote nothing."""
    if config_map is None:
        return Check(NAME, "WARN", "the operator has not written down how full it is", SILENT)
    try:
        room = Room.model_validate_json((config_map.get("data") or {}).get(ROOM_KEY, ""))
        old = now - from_rfc3339(room.time) > STALE
    except (ValidationError, ValueError):
        return Check(NAME, "WARN", "what the operator wrote down is in an unknown form", SILENT)
    if old:
        return Check(NAME, "WARN", f"last known at {room.time}: {room.used_percent} % full", SILENT)
    largest = sorted(room.namespaces.items(), key=lambda one: -one[1])[:3]
    shares = ", ".join(f"{name} {count / 2**30:.1f} GiB" for name, count in largest)
    found = f"{room.used_percent} % of {room.total / 2**30:.1f} GiB are taken" + (f": {shares}" if shares else "")
    if room.used_percent >= FULL_PERCENT:
        return Check(NAME, "FAIL", found, f"{ADVICE}; when it is full, no stage can store a result")
    if room.used_percent >= WARNING_PERCENT:
        return Check(NAME, "WARN", found, ADVICE)
    return Check(NAME, "OK", found)
