"""Who has asked or decided as often as the chart allows, for the admission rule that refuses more. Pure.

Decisions are kept forever, and each job and release leaves its records, so a flood of them could never be taken back.
The API server itself refuses what goes beyond a bound; here it is said who has reached one, and until when.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from tunegate.api.conditions import from_rfc3339, rfc3339
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import STOPPED
from tunegate.api.usage import (
    MOST_ENDED,
    MOST_REACHED,
    MOST_SUBJECTS,
    Bound,
    ReachedBound,
    SubjectShare,
    Usage,
    UsageSpec,
)
from tunegate.reconcile.history import ended
from tunegate.settings import PersonLimits

NAME = "people"
"""Name of the Usage of each governed namespace, which the admission rule reads."""
DAY = timedelta(days=1)
BOUNDS: tuple[Bound, ...] = get_args(Bound)
GIVING = ("Approve", "Override")
CLOSED_RELEASE = (*STOPPED, "Failed", "Serving")


@dataclass(frozen=True)
class Made:
    """One job, release or decision, as far as it counts."""

    uid: str
    bound: Bound
    person: str
    """User name; empty: a tool asked, for people whom nobody knows."""
    time: datetime
    subject: str = ""
    """UID of what is decided on."""
    open: bool = False
    ended: bool = False
    """No decision changes it any more."""


def read(obj: Mapping[str, Any]) -> Made | None:
    """Return what counts of an object; None: it is of another kind, or cannot be read."""
    try:
        spec, metadata = obj["spec"], obj["metadata"]
        phase = str((obj.get("status") or {}).get("phase") or "")
        uid, time = str(metadata["uid"]), from_rfc3339(str(metadata["creationTimestamp"]))
        match obj["kind"]:
            case "Approval":
                bound: Bound = "Approvals" if spec["decision"] in GIVING else "Stops"
                return Made(uid, bound, str(spec["approver"]["username"]), time, str(spec["subjectRef"]["uid"]))
            case "FineTuneJob":
                return Made(uid, "Jobs", _asker(spec), time, open=not ended(obj), ended=ended(obj))
            case "ModelRelease":
                open_ = phase not in CLOSED_RELEASE
                return Made(uid, "Releases", _asker(spec), time, open=open_, ended=ended(obj))
    except (KeyError, TypeError, ValueError):
        return None
    return None


def _asker(spec: Mapping[str, Any]) -> str:
    person = spec["requestedBy"]
    return "" if person.get("unverified") else str(person["username"])


def usage(made: Iterable[Made], limits: PersonLimits, now: datetime) -> UsageSpec:
    """Return for each bound who has reached it, which subjects have had their share of whom, and what ended."""
    everything = list(made)
    mine: dict[tuple[str, Bound], list[Made]] = defaultdict(list)
    for one in everything:
        if one.person:
            mine[one.person, one.bound].append(one)
    reached = (_reached(person, bound, mine[person, bound], limits, now) for person, bound in sorted(mine))
    over = sorted((one for one in everything if one.ended), key=lambda one: (one.time, one.uid), reverse=True)
    return UsageSpec(
        reached=[one for one in reached if one is not None][:MOST_REACHED],
        subjects=_subjects(everything, limits)[:MOST_SUBJECTS],
        ended=[one.uid for one in over[:MOST_ENDED]],
    )


def usage_object(namespace: str, spec: UsageSpec) -> dict[str, Any]:
    """Return the object that the admission rule reads."""
    metadata = {"name": NAME, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": Usage.KIND.kind, "metadata": metadata, "spec": spec.to_dict()}


def next_change(made: Iterable[Made], now: datetime) -> float | None:
    """Return the seconds until the oldest of the last day is older than that; None: there is none."""
    times = [one.time for one in made if one.time > now - DAY]
    return (min(times) + DAY - now).total_seconds() if times else None


def _reached(
    person: str, bound: Bound, mine: Sequence[Made], limits: PersonLimits, now: datetime
) -> ReachedBound | None:
    most, count = limits.open.get(bound, 0), sum(one.open for one in mine)
    if most and count >= most:
        text = (
            f"has {count} open {bound.lower()}, and quotas.perPerson.open{bound} of the chart is {most}: end some first"
        )
        return ReachedBound(username=person, bound=bound, message=text)
    most = limits.per_day[bound]
    times = sorted(one.time for one in mine if one.time > now - DAY)
    if not most or len(times) < most:
        return None
    until = rfc3339(times[len(times) - most] + DAY)
    word = "decisions of this kind" if bound in ("Approvals", "Stops") else bound.lower()
    text = (
        f"has made {len(times)} {word} within a day, and quotas.perPerson.{bound.lower()}PerDay of the chart is {most}: the next is "
        f"possible after {until}"
    )
    return ReachedBound(username=person, bound=bound, expiration_time=until, message=text)


def _subjects(made: Iterable[Made], limits: PersonLimits) -> list[SubjectShare]:
    """Return who has decided on which subject as often as they may; those who did so last come first."""
    counts: Counter[tuple[str, Bound, str]] = Counter()
    newest: dict[tuple[str, Bound, str], datetime] = {}
    for one in made:
        if one.subject and one.person:
            key = (one.person, one.bound, one.subject)
            counts[key] += 1
            newest[key] = max(one.time, newest.get(key, one.time))
    full = [key for key, count in counts.items() if (most := limits.per_subject.get(key[1], 0)) and count >= most]
    full.sort(key=lambda key: (newest[key], key), reverse=True)
    return [SubjectShare(username=person, bound=bound, subject=subject) for person, bound, subject in full]
