"""Who has reached a bound, as it follows from what was made: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.builders import make_approval, make_finetunejob, make_modelrelease
from tunegate.api.usage import MOST_ENDED, MOST_REACHED, Bound
from tunegate.reconcile.quotas import DAY, Made, next_change, read, usage
from tunegate.settings import PersonLimits

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LIMITS = PersonLimits(open_jobs=2, jobs_per_day=4, approvals_per_day=3, approvals_per_subject=2, stops_per_day=5)


def made(number: int, bound: Bound = "Approvals", person: str = "ravi", hours: float = 1, **more: Any) -> Made:
    return Made(f"{person}-{bound}-{number}", bound, person, NOW - timedelta(hours=hours), **more)


def reached(*everything: Made) -> list[tuple[str, str, str | None]]:
    return [(one.username, one.bound, one.expiration_time) for one in usage(everything, LIMITS, NOW).reached]


def test_a_bound_by_day_ends_when_enough_is_older_than_a_day() -> None:
    three = [made(1, hours=23), made(2, hours=2), made(3, hours=1)]
    assert reached(*three) == [("ravi", "Approvals", "2026-11-29T13:00:00Z")]
    assert reached(*three, made(4, hours=0)) == [("ravi", "Approvals", "2026-11-30T10:00:00Z")]
    assert reached(*three[1:], made(1, hours=25)) == []


def test_stops_are_counted_by_themselves_and_people_each_for_themselves() -> None:
    approvals = [made(number) for number in range(3)]
    stops = [made(number, "Stops") for number in range(4)]
    others = [made(number, person="cora") for number in range(2)]
    assert reached(*approvals, *stops, *others) == [("ravi", "Approvals", "2026-11-30T11:00:00Z")]


def test_open_jobs_hold_as_long_as_they_are_open() -> None:
    jobs = [made(number, "Jobs", "erin", hours=100, open=True) for number in range(2)]
    assert reached(*jobs) == [("erin", "Jobs", None)]
    assert reached(jobs[0], made(1, "Jobs", "erin", hours=100)) == []


def test_a_number_of_zero_bounds_nothing_and_tools_are_nobody() -> None:
    assert usage([made(n) for n in range(50)], PersonLimits(), NOW).reached == []
    assert reached(*[made(n, "Jobs", "", open=True) for n in range(50)]) == []


def test_a_share_of_a_subject_is_one_persons() -> None:
    everything = [made(1, subject="s"), made(2, subject="s"), made(3, subject="t"), made(4, person="cora", subject="s")]
    (share,) = usage(everything, LIMITS, NOW).subjects
    assert (share.username, share.bound, share.subject) == ("ravi", "Approvals", "s")


def test_however_much_was_made_what_is_said_has_a_bound() -> None:
    people = [made(n, person=f"p{one}") for one in range(MOST_REACHED + 10) for n in range(3)]
    ended = [made(n, "Releases", "erin", hours=n / 100, ended=True) for n in range(MOST_ENDED + 10)]
    spec = usage([*people, *ended], LIMITS, NOW)
    assert (len(spec.reached), len(spec.ended)) == (MOST_REACHED, MOST_ENDED)
    assert spec.ended[0] == "erin-Releases-0", "the newest stay"


def test_it_is_looked_at_again_when_a_day_is_over_for_something() -> None:
    assert next_change([made(1, hours=23), made(2, hours=30)], NOW) == timedelta(hours=1).total_seconds()
    assert next_change([made(1, hours=30)], NOW) is None
    assert timedelta(days=1) == DAY


def live(obj: dict[str, Any], phase: str = "", **status: Any) -> dict[str, Any]:
    obj["metadata"] |= {"uid": "u", "creationTimestamp": "2026-11-29T11:00:00Z"}
    return {**obj, "status": {"phase": phase, **status}}


@pytest.mark.parametrize(
    ("obj", "open_", "ended"),
    [
        (live(make_finetunejob(), "Training"), True, False),
        (live(make_finetunejob(), "PendingWaiver"), True, False),
        (live(make_finetunejob(), "Failed"), False, True),
        (live(make_modelrelease(), "PendingApproval"), True, False),
        (live(make_modelrelease(), "Serving"), False, False),
        (live(make_modelrelease(), "Revoked"), False, True),
        (live(make_modelrelease(), "Failed"), False, True),
        # Its statement may come back with the registry.
        (live(make_modelrelease(), "Failed", releaseDigest="sha256:1"), False, False),
    ],
)
def test_what_is_open_and_what_has_ended(obj: dict[str, Any], open_: bool, ended: bool) -> None:
    found = read(obj)
    assert found is not None
    assert (found.open, found.ended) == (open_, ended)


def test_a_decision_is_its_approvers_on_its_subject() -> None:
    approval = live(make_approval())
    found = read(approval)
    assert found is not None
    spec = approval["spec"]
    assert (found.person, found.subject) == (spec["approver"]["username"], spec["subjectRef"]["uid"])
    assert read({**approval, "spec": {}}) is None
    assert read({**approval, "kind": "ModelServer"}) is None
