"""What answered under a name at an earlier time, from the ledger's records alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.ledgers import NOW, Clock, Store
from tunegate.cli import at_time
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter

Json = dict[str, Any]
FIRST, SECOND = (AuditSubject("ModelRelease", "team", name, f"uid-{name}") for name in ("first", "second"))


def route(type_: Any, subject: AuditSubject, served: str, revision: int, weight: str = "") -> AuditEntry:
    payload = {"server": "licenses", "route": "holders", "servedName": served, "revision": str(revision)}
    payload |= {"weight": weight} if weight else {}
    return AuditEntry(type_, "tunegate-operator", subject, f"holders:{served}:{revision}", payload)


@pytest.fixture
async def records() -> list[Json]:
    """One record a minute: a release asked for and approved, its route open; then another takes over, then nobody."""
    store = Store()
    writer = LedgerWriter(store, Clock())
    await writer.append(AuditEntry("ReleaseRequested", "erin", FIRST, "statement", {"data": "sha256:d", "policy": "p"}))
    await writer.append(AuditEntry("ReleaseApproved", "tunegate-operator", FIRST, "a", {"approvers": "ravi (risk)"}))
    await writer.append(route("RouteOpened", FIRST, "first-1", 1))
    await writer.append(route("RouteClosed", FIRST, "first-1", 2))
    await writer.append(route("RouteOpened", SECOND, "second-2", 2))
    await writer.append(route("RouteClosed", SECOND, "second-2", 3))
    await writer.append(AuditEntry("RouteOpened", "tunegate-operator", SECOND, "tells nothing"))
    return [one["spec"] for one in store.records]


@pytest.mark.parametrize(
    ("minute", "served"),
    [(2, []), (3, ["first-1"]), (3.5, ["first-1"]), (4, []), (5, ["second-2"]), (6, []), (60, [])],
)
def test_the_answer_is_that_of_the_moment(records: list[Json], minute: float, served: list[str]) -> None:
    found = at_time.answers(records, "holders", NOW + timedelta(minutes=minute))
    assert [one.served_name for one in found] == served


def test_served_name_and_release_lead_to_the_same_answer(records: list[Json]) -> None:
    moment = NOW + timedelta(minutes=3)
    (by_route,) = at_time.answers(records, "holders", moment)
    assert [by_route] == at_time.answers(records, "first-1", moment) == at_time.answers(records, "first", moment)
    assert (by_route.namespace, by_route.server, by_route.uid, by_route.record) == ("team", "licenses", "uid-first", 3)
    assert at_time.answers(records, "second-2", moment) == []


def test_evidence_is_what_was_recorded_until_then(records: list[Json]) -> None:
    asked = at_time.evidence(records, "uid-first", NOW + timedelta(minutes=1))
    assert asked == {"data": "sha256:d", "policy": "p", "requestedBy": "erin"}
    later = at_time.evidence(records, "uid-first", datetime(2030, 1, 1, tzinfo=UTC))
    assert later == {**asked, "approvers": "ravi (risk)"}


async def test_a_route_to_several_releases_tells_each_and_its_share_of_the_moment() -> None:
    store = Store()
    writer = LedgerWriter(store, Clock())
    await writer.append(route("RouteOpened", FIRST, "first-1", 1))
    await writer.append(route("RouteWeightChanged", FIRST, "first-1", 2, "95"))
    await writer.append(route("RouteOpened", SECOND, "second-2", 2, "5"))
    await writer.append(route("RouteClosed", FIRST, "first-1", 3))
    records = [one["spec"] for one in store.records]
    found = [at_time.answers(records, "holders", NOW + timedelta(minutes=minute)) for minute in (1, 2, 3, 4)]
    assert [[(one.served_name, one.weight) for one in answers] for answers in found] == [
        [("first-1", "100")], [("first-1", "95")], [("first-1", "95"), ("second-2", "5")], [("second-2", "5")],
    ]  # fmt: skip
