"""How a route moves to a newer release: in steps, each for a time, and back if a bound is broken. Pure.

A canary is part of the routes' document, where it changes together with the weights: so no crash leaves one without the
other. The gateways count what each release did at the present step, and begin again with each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tunegate.api.conditions import rfc3339
from tunegate.api.latency import quantile
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.numbers import plain
from tunegate.api.routes import Bounds, Canary, CanaryPlan, CanaryStatus, Measured, RouteStatus
from tunegate.api.serving import GatewayStatus, OpenRoute

LOOK_SECONDS = 5.0
"""Between two looks at what the gateways counted, while a step is on."""
MEASURED_SECONDS = 60.0
"""Between two changes of the numbers in the status: each change is a write that everybody hears of."""


@dataclass(frozen=True)
class Counted:
    """What all gateways together counted of one release at a step."""

    requests: int = 0
    errors: int = 0
    tokens: int = 0
    seconds: Mapping[int, int] = field(default_factory=dict)

    @property
    def latency(self) -> float | None:
        """95th percentile of the time to the end of an answer, in seconds."""
        return quantile(self.seconds, 0.95)

    @property
    def mean_tokens(self) -> float:
        """Tokens of an answer that did not fail."""
        return self.tokens / max(1, self.requests - self.errors)

    def measured(self, served_name: str) -> Measured:
        """Return it for the status."""
        latency = self.latency
        return Measured(
            served_name=served_name, requests=self.requests, errors=self.errors,
            latency="" if latency is None else plain(latency), tokens=plain(self.mean_tokens) if self.requests else "",
        )  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the numbers of a step say: which bound is broken, or what they wait for."""

    broken: str = ""
    waits: str = ""


@dataclass(frozen=True)
class Move:
    """Where a route goes next: the weight of the newer release, and the canary that is left. No canary: it is over."""

    weight: int
    canary: Canary | None
    note: str = ""


def counted(gateways: Mapping[str, GatewayStatus], route: str, canary: Canary) -> dict[str, Counted]:
    """Return what gateways counted at the present step, by served name."""
    found: dict[str, Counted] = {}
    for status in gateways.values():
        for one in status.traffic:
            if one.shadow or one.route != route or one.window != canary.window:
                continue
            before = found.get(one.served_name, Counted())
            seconds = dict(before.seconds)
            for number, count in one.seconds.items():
                seconds[number] = seconds.get(number, 0) + count
            found[one.served_name] = Counted(
                before.requests + one.requests, before.errors + one.errors, before.tokens + one.tokens, seconds
            )
    return found


def judge(bounds: Bounds, candidate: Counted, stable: Counted) -> Verdict:
    """Compare both releases.

    Failures count from the first one on: as if all answers that are missing to ``bounds.requests`` succeeded. Times and tokens
    are compared when both releases have so many answers.
    """
    if broken := _failures(bounds, candidate, stable):
        return Verdict(broken)
    for counts, who in ((candidate, "the newer release"), (stable, "the stable release")):
        if counts.requests < bounds.requests:
            return Verdict(waits=f"{bounds.requests} answers by {who} are needed to judge")
    new, old = candidate.latency, stable.latency
    if new is not None and old is not None and new > old * bounds.latency_percent / 100:
        return Verdict(
            f"latency: the 95th percentile is {plain(new)} s, and {plain(old)} s for the stable release; at most "
            f"{bounds.latency_percent} % of that is allowed"
        )
    if stable.mean_tokens and candidate.mean_tokens > stable.mean_tokens * bounds.tokens_percent / 100:
        return Verdict(
            f"tokens: {plain(candidate.mean_tokens)} in an answer, and {plain(stable.mean_tokens)} for the stable release; at "
            f"most {bounds.tokens_percent} % of that is allowed"
        )
    return Verdict()


def _failures(bounds: Bounds, candidate: Counted, stable: Counted) -> str:
    if not candidate.errors:
        return ""
    share = candidate.errors / max(candidate.requests, bounds.requests)
    usual = stable.errors / stable.requests if stable.requests else 0.0
    if 100 * (share - usual) <= bounds.error_percent:
        return ""
    return (
        f"errors: {candidate.errors} of {candidate.requests} answers failed, and {stable.errors} of {stable.requests} of the "
        f"stable release; at most {bounds.error_percent} percentage points more are allowed"
    )


def begin(plan: CanaryPlan, stable: str, candidate: str, before: Canary | None, now: datetime) -> Move:
    """Return the first step to a newer release, or why it is not taken."""
    refused = before is not None and before.state == "WentBack" and before.resumed_at == plan.resumed_at
    if before is not None and refused and before.candidate == candidate:
        return Move(0, before, f"went back from {candidate}: {before.reason}; tunegate route resume tries it again")
    if plan.paused:
        return Move(0, None, f"paused: {candidate} is newer and waits; tunegate route resume goes on")
    canary = Canary(state="Stepping", stable=stable, candidate=candidate, step=1, start_time=rfc3339(now))
    return Move(plan.steps[0].weight, canary)


def go_on(plan: CanaryPlan, canary: Canary, counts: Mapping[str, Counted], now: datetime) -> Move:
    """Return what follows a step that is on: the same, the next one, everything, or back."""
    number = min(canary.step, len(plan.steps))
    step = plan.steps[number - 1]
    verdict = judge(plan.bounds, counts.get(canary.candidate, Counted()), counts.get(canary.stable, Counted()))
    if verdict.broken:
        update = {
            "state": "WentBack", "start_time": rfc3339(now), "resumed_at": plan.resumed_at,
            "reason": verdict.broken[:TEXT_CHARACTERS],
        }  # fmt: skip
        back = canary.model_copy(update=update)
        return Move(0, back, f"went back from {canary.candidate}: {back.reason}")
    ends = datetime.fromisoformat(canary.start_time) + timedelta(seconds=step.hold_seconds)
    where = f"step {number} of {len(plan.steps)}"
    if plan.paused:
        return Move(step.weight, canary, f"{where}, paused")
    if now < ends:
        return Move(step.weight, canary, f"{where}, at least until {rfc3339(ends)}")
    if verdict.waits:
        return Move(step.weight, canary, f"{where}: {verdict.waits}")
    if number == len(plan.steps):
        return Move(100, None)
    following = canary.model_copy(update={"step": number + 1, "start_time": rfc3339(now)})
    return Move(plan.steps[number].weight, following)


def told(
    route: str,
    canary: Canary,
    note: str,
    before: RouteStatus | None,
    gateways: Mapping[str, GatewayStatus],
    now: datetime,
) -> CanaryStatus:
    """Return the canary for the status; numbers stay for a minute, since each change of them is a write."""
    old = before.canary if before is not None else None
    same = old is not None and (old.window, old.state) == (canary.window, canary.state)
    if old is not None and same and not _due(old, now):
        measured, time = old.measured, old.measured_time
    elif canary.state == "Stepping":
        counts = counted(gateways, route, canary)
        measured = [counts.get(name, Counted()).measured(name) for name in (canary.candidate, canary.stable)]
        time = rfc3339(now)
    else:
        measured, time = [], None
    return CanaryStatus(**canary.model_dump(), message=note[:TEXT_CHARACTERS], measured=measured, measured_time=time)


def _due(old: CanaryStatus, now: datetime) -> bool:
    if old.state != "Stepping" or old.measured_time is None:
        return False
    return (now - datetime.fromisoformat(old.measured_time)).total_seconds() >= MEASURED_SECONDS


def stepping(routes: Iterable[OpenRoute]) -> bool:
    """Tell whether a canary is at a step, whose numbers have to be looked at soon."""
    return any(route.canary is not None and route.canary.state == "Stepping" for route in routes)
