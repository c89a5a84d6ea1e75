"""Usage: who has asked or decided as often as the chart allows, for the admission rule that refuses more."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.markers import LIST_ATOMIC, ApiModel, Column, Kind, Names, Resource, Text, Time

Bound = Literal["Jobs", "Releases", "Approvals", "Stops"]
"""`Approvals` are the decisions Approve and Override, `Stops` all others."""
UserName = Annotated[str, Field(max_length=256)]
Uid = Annotated[str, Field(max_length=64)]
MOST_REACHED = 500
MOST_SUBJECTS = 1000
MOST_ENDED = 5000


class ReachedBound(ApiModel):
    """One person, one bound."""

    username: UserName
    bound: Bound
    expiration_time: Time | None = None
    """Absent: as long as it is so."""
    message: Text


class SubjectShare(ApiModel):
    """Who has decided on one job or release as often as they may."""

    username: UserName
    bound: Bound
    subject: Uid


class UsageSpec(ApiModel):
    """As the operator last saw it."""

    reached: Annotated[list[ReachedBound], Field(max_length=MOST_REACHED, json_schema_extra=LIST_ATOMIC)] = []
    subjects: Annotated[list[SubjectShare], Field(max_length=MOST_SUBJECTS, json_schema_extra=LIST_ATOMIC)] = []
    ended: Annotated[list[Uid], Field(max_length=MOST_ENDED, json_schema_extra=LIST_ATOMIC)] = []
    """UIDs of jobs and releases that no decision changes any more; those that were made last."""


class Usage(Resource):
    """What people used of their quotas in a namespace; written by the operator alone, named `people`."""

    KIND: ClassVar[Kind] = Kind(
        "Usage",
        "usages",
        ("usg",),
        "Namespaced",
        (
            Column("Reached", ".spec.reached[*].username"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is always people", most=40, letter_first=True),
    )

    spec: UsageSpec
