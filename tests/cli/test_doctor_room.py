"""How doctor judges the room in the chart's registry, from what the operator wrote down."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.ledgers import NOW
from tunegate.api.conditions import rfc3339
from tunegate.cli.doctor import room
from tunegate.registry.stored import ROOM_KEY, Room


def written(used: int, age: timedelta = timedelta(0)) -> dict[str, dict[str, str]]:
    total = 20 * 2**30
    seen = Room(
        time=rfc3339(NOW - age),
        total=total,
        free=total * (100 - used) // 100,
        namespaces={"small": 1, "team": 3 * 2**30},
    )
    return {"data": {ROOM_KEY: seen.model_dump_json(by_alias=True)}}


@pytest.mark.parametrize(
    ("used", "state"), [(0, "OK"), (79, "OK"), (80, "WARN"), (94, "WARN"), (95, "FAIL"), (100, "FAIL")]
)
def test_it_warns_from_eighty_percent_on(used: int, state: str) -> None:
    check = room.judge(written(used), NOW)
    assert (check.state, check.found) == (state, f"{used} % of 20.0 GiB are taken: team 3.0 GiB, small 0.0 GiB")
    assert ("Room in the registry" in check.advice) == (state != "OK")


def test_what_is_not_known_is_not_taken_for_room() -> None:
    assert room.judge(None, NOW).state == "WARN"
    assert room.judge({"data": {ROOM_KEY: "{}"}}, NOW).state == "WARN"
    assert room.judge({}, NOW).state == "WARN"
    old = room.judge(written(10, timedelta(hours=1)), NOW)
    assert old.state == "WARN"
    assert "last known at" in old.found
