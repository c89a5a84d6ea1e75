"""Pieces that several kinds use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunegate.api.conditions import Condition
from tunegate.api.markers import LIST_ATOMIC, ApiModel, Quantity, ResourceName, ShortText, Text, Time, list_map

Conditions = Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))]
MethodType = Literal["QLoRA", "LoRA"]
PersonId = Annotated[str, Field(max_length=256, min_length=1)]

PERSON_ID = "tunegate.io/person-id"
SERVICE_ACCOUNT = "system:serviceaccount:"
"""How the API server's names of programs begin; people have none of these."""
AUTH_TIME = "tunegate.io/auth-time"
"""Keys of `userInfo.extra` under which the cluster's authentication says who the human is, and when they signed in."""


class Person(ApiModel):
    """Who did something, as the API server authenticated them."""

    username: Annotated[str, Field(max_length=256, min_length=1)]
    """Exactly `userInfo.username` of the request; admission refuses any other value."""
    uid: Annotated[str, Field(max_length=256)] | None = None
    """`userInfo.uid` where the cluster's identity provider sets one."""
    groups: Annotated[
        list[Annotated[str, Field(max_length=256)]], Field(max_length=64, json_schema_extra=LIST_ATOMIC)
    ] = []
    """Groups that the person claims; admission refuses a group that the caller is not in."""
    person_id: PersonId | None = None
    """The human behind the account, e.g. an employee number: `userInfo.extra["tunegate.io/person-id"]`, where the cluster
    sets it; admission refuses any other value, and none where there is one."""
    auth_time: Time | None = None
    """When the person last signed in (RFC 3339): `userInfo.extra["tunegate.io/auth-time"]`, held to in the same way."""

    @property
    def extra(self) -> dict[str, list[str]]:
        """The part of `userInfo.extra` that the fields above hold."""
        said = {PERSON_ID: self.person_id, AUTH_TIME: self.auth_time}
        return {key: [value] for key, value in said.items() if value}


class Requester(Person):
    """Who asked for a job or a release."""

    unverified: bool = False
    """True where a GitOps tool asked on behalf of people whom nobody knows; admission refuses any other value than the fact."""


class Contributor(ApiModel):
    """Who worked on what is judged, in the requester's words. Nobody proves it, so it only ever takes a right away."""

    username: Annotated[str, Field(max_length=256, min_length=1)]
    person_id: PersonId | None = None
    """The human, where the cluster's identity provider knows them: covers accounts of other names."""


class Toleration(ApiModel):
    """A toleration of a node taint (subset of the core type)."""

    key: ShortText | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: ShortText | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Resources(ApiModel):
    """CPU and memory of one pod, used as request and as limit for memory, as request for CPU."""

    cpu: Quantity = "1"
    memory: Quantity = "4Gi"


class NamedRef(ApiModel):
    """Another object, by its name; an object of a namespace names those of its own namespace, and cluster-wide ones."""

    name: ResourceName


class StatusBase(ApiModel):
    """What every status has."""

    observed_generation: int = 0
    """The `metadata.generation` that this status speaks of."""
    message: Text = ""
    """What is happening, why, and what to do, in a sentence or two."""
    conditions: Conditions = []


class SuiteTry(ApiModel):
    """One try on the questions of a suite, as the ledger has it."""

    time: Time
    """When the questions were about to be asked."""
    job: Annotated[str, Field(max_length=253)] = ""
    """Empty for a job of another namespace."""
    requested_by: Annotated[str, Field(max_length=256)] = ""
    """Empty for a job of another namespace."""
    suite: Annotated[str, Field(max_length=253)] = ""
    outcome: ShortText
    """Pass, Fail, Inconclusive, PromptingSuffices, another reason why the job ended, or NotEnded: it runs, or was deleted."""

    def told(self) -> str:
        """Return the try as a few words."""
        return f"{self.requested_by or 'somebody in another namespace'} {self.time[:10]} {self.outcome}"


class SuiteTries(ApiModel):
    """How often the questions of a suite were tried, also under other names, in other namespaces, and by jobs that are gone."""

    total: int = 0
    newest: Annotated[list[SuiteTry], Field(max_length=20, json_schema_extra=LIST_ATOMIC)] = []
    """Oldest first."""

    def told(self) -> str:
        """Return the number, and who and when, for people."""
        if not self.newest:
            return str(self.total)
        earlier = [f"{self.total - len(self.newest)} earlier"] if self.total > len(self.newest) else []
        return f"{self.total}: {', '.join([*earlier, *(one.told() for one in self.newest)])}"
