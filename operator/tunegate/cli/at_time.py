"""What answered under a name at an earlier moment, from the ledger's records alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

Spec = Mapping[str, Any]
NAMED = {"server", "route", "servedName"}
"""Of a record about a route; one that lacks them tells nothing here."""
ROUTE_TYPES = ("RouteOpened", "RouteClosed", "RouteWeightChanged")


@dataclass(frozen=True)
class Answer:
    """One route of one server, open for one release; a route may be open for several at once."""

    namespace: str
    server: str
    route: str
    served_name: str
    release: str
    uid: str
    since: str
    record: int
    """Sequence of the record that opened it."""
    weight: str = "100"
    """Its share of the clients at that moment, relative to the others'."""


def answers(records: Iterable[Spec], name: str, moment: datetime) -> list[Answer]:
    """Return what answered at ``moment`` under a route's name or a served name; ``records`` come in order."""
    is_open: dict[tuple[str, str, str, str], Answer] = {}
    for spec in before(records, moment):
        subject, payload = spec["subject"], spec["payload"]
        if spec["type"] not in ROUTE_TYPES or not payload.keys() >= NAMED:
            continue
        names = (payload[field] for field in ("server", "route", "servedName"))
        server, route, served = map(str, names)
        key = (str(subject["namespace"]), server, route, served)
        if spec["type"] == "RouteOpened":
            opened = (subject["name"], subject["uid"], spec["time"], spec["sequence"])
            is_open[key] = Answer(*key, *opened, payload.get("weight", "100"))
        elif spec["type"] == "RouteClosed":
            is_open.pop(key, None)
        elif key in is_open and "weight" in payload:
            is_open[key] = replace(is_open[key], weight=payload["weight"])
    return [one for one in is_open.values() if name in (one.route, one.served_name, one.release)]


def evidence(records: Iterable[Spec], uid: str, moment: datetime) -> dict[str, str]:
    """Return what the ledger says of a release's evidence and approvers, as of ``moment``."""
    found: dict[str, str] = {}
    for spec in before(records, moment):
        if spec["subject"]["uid"] == uid and spec["type"] in ("ReleaseRequested", "ReleaseApproved"):
            found |= {key: str(value) for key, value in spec["payload"].items() if key != "approvals"}
            found |= {"requestedBy": spec["actor"]} if spec["type"] == "ReleaseRequested" else {}
    return found


def before(records: Iterable[Spec], moment: datetime) -> list[Spec]:
    """Return the records up to and including a moment."""
    return [spec for spec in records if datetime.fromisoformat(spec["time"]) <= moment]
