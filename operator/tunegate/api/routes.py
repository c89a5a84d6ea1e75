"""Routes of a ModelServer: which approved releases answer under a public name, and with which share of its clients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunegate.api.markers import LIST_ATOMIC, ApiModel, ShortText, Text, Time, cel, rules
from tunegate.api.shared import NamedRef

ModelName = Annotated[str, Field(max_length=64, min_length=1, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Weight = Annotated[int, Field(ge=0, le=100)]
MOST_TARGETS = 8


class Target(ApiModel):
    """One release under a public name, and its share of the name's clients."""

    release_ref: NamedRef
    weight: Weight
    """Percent of the clients. While the release may not answer, or no pod holds its adapter, the others have its share."""


class Step(ApiModel):
    """One step of a canary: the newer release has a share of the clients for a time."""

    weight: Annotated[int, Field(ge=1, le=99)]
    """Percent of the clients that the newer release answers."""
    hold_seconds: Annotated[int, Field(ge=10, le=604_800)]
    """For so long at least; then the next step follows if there are enough answers to judge."""


class Bounds(ApiModel):
    """What a newer release must keep within at each step, or the route goes back to the stable one by itself."""

    error_percent: Annotated[int, Field(ge=0, le=100)] = 2
    """Percentage points by which more of its answers may fail than of the stable release's."""
    latency_percent: Annotated[int, Field(ge=100, le=10_000)] = 200
    """Of the 95th percentile of the stable release's time to the end of an answer."""
    tokens_percent: Annotated[int, Field(ge=100, le=10_000)] = 200
    """Of the mean number of tokens in the stable release's answers."""
    requests: Annotated[int, Field(ge=10, le=1_000_000)] = 100
    """Answers of each of both releases at a step from which they are compared. With fewer the step goes on."""


class CanaryPlan(ApiModel):
    """How a route with track `Latest` moves to a newer approved release: in steps, and back if a bound is broken."""

    model_config = rules(
        cel(
            "self.steps.map(step, step.weight).isSorted() && self.steps.all(step, self.steps.exists_one(other, "
            "other.weight == step.weight))",
            "the weights of steps must grow; after the last step the newer release has all clients",
        )
    )

    steps: Annotated[list[Step], Field(min_length=1, max_length=8, json_schema_extra=LIST_ATOMIC)]
    """After the last one the newer release answers everybody."""
    bounds: Bounds = Bounds()
    paused: bool = False
    """No further step is taken, and none is begun. A broken bound still goes back."""
    resumed_at: Time | None = None
    """Another value tries a release again that the route went back from."""


class Shadow(ApiModel):
    """An approved release that answers copies of requests. Its answers are thrown away; only numbers are kept."""

    release_ref: NamedRef
    percent: Annotated[int, Field(ge=1, le=100)]
    """Of the answered requests that are copied; fewer while the engine is busy."""


class Route(ApiModel):
    """A public model name and the releases that answer under it."""

    model_config = rules(
        cel(
            "(self.track == 'Pinned') == has(self.targets)",
            "targets are required with track Pinned and not allowed with track Latest",
        ),
        cel(
            "!has(self.targets) || self.targets.map(target, target.weight).sum() == 100",
            "the weights of targets must add up to 100",
        ),
        cel(
            "!has(self.targets) || self.targets.all(target, self.targets.exists_one(other, other.releaseRef.name == "
            "target.releaseRef.name))",
            "each release may be a target once",
        ),
        cel(
            "!has(self.shadow) || !has(self.targets) || self.targets.all(target, target.releaseRef.name != "
            "self.shadow.releaseRef.name)",
            "shadow names a release that answers itself: name one that is no target",
        ),
    )

    name: ModelName
    """What clients put into `model`; releases with this `modelName` may answer."""
    track: Literal["Latest", "Pinned"] = "Latest"
    """`Latest` follows approvals; `Pinned` names approved releases and their weights."""
    targets: (
        Annotated[list[Target], Field(min_length=1, max_length=MOST_TARGETS, json_schema_extra=LIST_ATOMIC)] | None
    ) = None
    """Who answers with track `Pinned`. One target of weight 100 is an instant rollback."""
    canary: CanaryPlan | None = None
    """How track `Latest` moves to a newer release. Absent: at once. Not used with track `Pinned`."""
    shadow: Shadow | None = None


class TargetStatus(ApiModel):
    """One release that answers under a public name now."""

    served_name: ModelName
    release_ref: NamedRef
    weight: Weight
    """Its share of the clients, relative to that of the others."""


class ShadowStatus(ApiModel):
    """The release that answers copies, and what was measured."""

    release_ref: NamedRef
    served_name: ModelName | None = None
    state: Literal["Open", "Closed"]
    reason: Text = ""
    measured_time: Time | None = None
    """Brought up to date once a minute."""
    copies: int = 0
    """Answered, or failed by the engine's fault, since the gateways started."""
    errors: int = 0
    latency: ShortText = ""
    """95th percentile of the time to the end of an answer, in seconds."""
    tokens: ShortText = ""
    """Mean tokens of an answer."""
    compared: int = 0
    """Copies of requests at temperature 0 that are answered as a whole."""
    agreed: int = 0
    """Of them those whose text is the same, to the letter, as that of the answer which the client got."""


class Canary(ApiModel):
    """A newer release beside the stable one: how far it is."""

    state: Literal["Stepping", "WentBack"]
    """`WentBack`: a bound was broken, and the stable release has all clients until a person resumes."""
    stable: ModelName
    """Served name of the release that answered before."""
    candidate: ModelName
    """Served name of the newer release."""
    step: Annotated[int, Field(ge=1, le=8)]
    """The step that it is at, or went back from."""
    start_time: Time
    """When the step began, or the route went back."""
    resumed_at: Time | None = None
    """`canary.resumedAt` of the spec when the route went back."""
    reason: Text = ""
    """Which bound was broken, in state `WentBack`."""

    @property
    def window(self) -> str:
        """What answers are counted under: other words with each step."""
        return f"{self.candidate}/{self.step}/{self.start_time}"


class Measured(ApiModel):
    """What gateways counted of one release at this step."""

    served_name: ModelName
    requests: int
    """Answers that ended, or failed by the engine's fault."""
    errors: int
    latency: ShortText = ""
    """95th percentile of the time to the end of an answer, in seconds."""
    tokens: ShortText = ""
    """Mean tokens of an answer."""


class CanaryStatus(Canary):
    """The same with what was measured, for people."""

    message: Text = ""
    """What it waits for."""
    measured_time: Time | None = None
    measured: Annotated[list[Measured], Field(max_length=2, json_schema_extra=LIST_ATOMIC)] = []
    """Brought up to date once a minute."""


class RouteStatus(ApiModel):
    """Which releases answer under a public name now."""

    name: ModelName
    state: Literal["Open", "Closed"]
    targets: Annotated[list[TargetStatus], Field(max_length=MOST_TARGETS, json_schema_extra=LIST_ATOMIC)] = []
    reason: Text = ""
    canary: CanaryStatus | None = None
    shadow: ShadowStatus | None = None

    @property
    def served_names(self) -> tuple[str, ...]:
        """Served names of the targets, the largest share first."""
        return tuple(one.served_name for one in sorted(self.targets, key=lambda one: -one.weight))

    @property
    def told(self) -> str:
        """Who answers, for people: a served name, or several with their shares."""
        if self.state == "Closed" or not self.targets:
            return "nobody"
        if len(self.targets) == 1:
            return self.targets[0].served_name
        ordered = sorted(self.targets, key=lambda one: -one.weight)
        return ", ".join(f"{one.served_name} {one.weight} %" for one in ordered)
