"""Which ended jobs and releases are more than their namespace keeps. Pure: the facts of routing go in, marks come out.

Like the history limit of a CronJob, but a job stays as long as any release names it, and nothing goes within a day of its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from tunegate.controllers.dispatch.facts import Facts, Target
from tunegate.kube.client import ObjectKey
from tunegate.settings import HistoryLimits

AT_A_TIME = 50
"""Of a namespace and a kind in one pass: a limit that is set late must not make the operator do nothing else."""
Known = Mapping[str, Mapping[ObjectKey, Facts]]


def surplus(known: Known, limits: HistoryLimits, now: datetime) -> dict[Target, str]:
    """Return what may go, the oldest of each namespace first: kind and key, and the UID that is meant."""
    marked: dict[Target, str] = {}
    for kind, limit in (("ModelRelease", limits.ended_releases), ("FineTuneJob", limits.ended_jobs)):
        if limit:
            marked |= dict(_beyond(kind, known, limit, now))
    return marked


def _beyond(kind: str, known: Known, limit: int, now: datetime) -> Iterator[tuple[Target, str]]:
    named = {target for one in known.get("ModelRelease", {}).values() for target in one.names}
    ended: dict[str, list[tuple[datetime, ObjectKey, Facts]]] = {}
    for key, facts in known.get(kind, {}).items():
        if facts.ended and not facts.kept and facts.settled is not None and facts.settled <= now:
            ended.setdefault(key.namespace, []).append((facts.settled, key, facts))
    for found in ended.values():
        found.sort(key=lambda one: (one[0], one[1]))
        older = [(key, facts) for _, key, facts in found[: max(0, len(found) - limit)] if (kind, key) not in named]
        yield from (((kind, key), facts.uid) for key, facts in older[:AT_A_TIME])
