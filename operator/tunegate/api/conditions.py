"""Conditions: typed facts about an object, with reasons from closed lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from tunegate.api.markers import ApiModel, LongText, ShortText, Time

OBJECTS_IN_PLACE = "ObjectsInPlace"
"""Condition that is False while an object of Tunegate's cannot be written, and absent otherwise."""
ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(ApiModel):
    """One condition as `kubectl wait --for=condition=…` reads it."""

    type: ShortText
    status: ConditionStatus
    reason: ShortText
    message: LongText = ""
    last_transition_time: Time
    observed_generation: int = 0


def rfc3339(moment: datetime) -> str:
    """Return ``moment`` (UTC) in the form that the API server writes."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def from_rfc3339(text: str) -> datetime:
    """Return a time of the API as an aware datetime in UTC. Raises ``ValueError``."""
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, if it was ever set."""
    return next((c for c in conditions if c.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Tell whether the condition of that type is set and ``True``."""
    found = find(conditions, type_)
    return found is not None and found.status == "True"


def set_condition(conditions: Iterable[Condition], new: Condition) -> list[Condition]:
    """Return the conditions with ``new`` put in; the transition time moves only when the status does."""
    kept = list(conditions)
    for index, old in enumerate(kept):
        if old.type == new.type:
            if old.status == new.status:
                new = new.model_copy(update={"last_transition_time": old.last_transition_time})
            kept[index] = new
            return kept
    return [*kept, new]
