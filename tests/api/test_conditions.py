"""Conditions: one per type, and the transition time tells when the status really changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tunegate.api.conditions import Condition, find, is_true, rfc3339, set_condition

START = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def writes(draw: st.DrawFn) -> list[Condition]:
    count = draw(st.integers(1, 25))
    return [
        Condition(
            type=draw(st.sampled_from(["Ready", "Succeeded"])),
            status=draw(st.sampled_from(["True", "False", "Unknown"])),
            reason=draw(st.sampled_from(["Hashing", "Hashed"])),
            message=draw(st.text(max_size=5)),
            last_transition_time=rfc3339(START + timedelta(seconds=index)),
        )
        for index in range(count)
    ]


@given(writes())
def test_the_last_write_of_a_type_wins_and_keeps_the_time_of_its_last_change(history: list[Condition]) -> None:
    conditions: list[Condition] = []
    for new in history:
        conditions = set_condition(conditions, new)

    assert len({c.type for c in conditions}) == len(conditions)
    for held in conditions:
        own = [c for c in history if c.type == held.type]
        run = [own[-1]]
        for earlier in reversed(own[:-1]):
            if earlier.status != own[-1].status:
                break
            run.append(earlier)
        assert run[-1].last_transition_time == held.last_transition_time
        assert (own[-1].status, own[-1].reason, own[-1].message) == (held.status, held.reason, held.message)


@given(writes())
def test_writing_the_same_again_changes_nothing(history: list[Condition]) -> None:
    conditions: list[Condition] = []
    for new in history:
        conditions = set_condition(conditions, new)
    again = conditions
    for held in conditions:
        again = set_condition(again, held.model_copy(update={"last_transition_time": rfc3339(START)}))

    assert conditions == again


def test_a_type_that_was_never_set_is_not_true() -> None:
    assert find([], "Ready") is None
    assert not is_true([], "Ready")
