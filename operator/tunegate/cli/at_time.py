"""What answered under a name at an earlier moment, from the ledger's records alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Spec = Mapping[str, Any]
NAMED = {"server", "route", "servedName"}
"""Of a record about a route; one that lacks them tells nothing here."""


@dataclass(frozen=True)
class Answer:
    """One route of one server, open for one release."""

    namespace: str
    server: str
    route: str
    served_name: str
    release: str
    uid: str
    since: str
    record: int
    """Sequence of the record that opened it."""


def answers(records: Iterable[Spec], name: str, moment: datetime) -> list[Answer]:
    """Return what answered at ``moment`` under a route's name or a served name; ``records`` come in order."""
    is_open: dict[tuple[str, str, str], Answer] = {}
    for spec in before(records, moment):
        subject, payload = spec["subject"], spec["payload"]
        if spec["type"] not in ("RouteOpened", "RouteClosed") or not payload.keys() >= NAMED:
            continue
        key = (str(subject["namespace"]), str(payload["server"]), str(payload["route"]))
        if spec["type"] == "RouteOpened":
            is_open[key] = Answer(
                *key, payload["servedName"], subject["name"], subject["uid"], spec["time"], spec["sequence"]
            )
        elif key in is_open and is_open[key].served_name == payload["servedName"]:
            del is_open[key]
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
