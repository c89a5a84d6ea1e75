"""Routing: which keys to look at when something changed. Pure: an object goes in, keys come out.

A change concerns the objects that name the changed one, and of those only the ones that have not ended: what ended jobs and
releases cost must not grow with their number. To find those keys without asking the API server, the routing keeps a few facts
of each object. They are a hint: a key whose object is gone costs one read.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunegate.controllers.dispatch.facts import CLUSTER_KINDS, QUESTIONS, Facts, Target, facts_of, key_of
from tunegate.kube.client import ObjectKey
from tunegate.reconcile.naming import BASE_MODEL_LABEL, JOB_LABEL, RELEASE_LABEL, SERVER_LABEL

CHILD_OWNERS = {
    JOB_LABEL: "FineTuneJob",
    SERVER_LABEL: "ModelServer",
    RELEASE_LABEL: "ModelRelease",
    BASE_MODEL_LABEL: "BaseModel",
}
"""Label of a child -> kind of the owner that the label's value names."""
PARTS = 24
"""History is looked at in so many parts, one at each complete listing."""


@dataclass(frozen=True)
class Routed:
    """What a change concerns."""

    targets: tuple[Target, ...]
    talk: bool = False
    """Only progress or wording changed: it concerns nobody but those who show it elsewhere."""


class Routing:
    """Keeps in ``known`` the facts of every object, by kind and key.

    ``policies``: name of the ApprovalPolicy that holds, by governed namespace.
    """

    def __init__(self, policies: Mapping[str, str]) -> None:
        self._policies = policies
        self.known: dict[str, dict[ObjectKey, Facts]] = {}
        self._open: dict[str, set[ObjectKey]] = {}

    def of_resource(self, obj: Mapping[str, Any], *, deleted: bool = False) -> Routed:
        """Return the keys that a change of one of our own objects concerns; none when it is known as it is."""
        kind, key = obj["kind"], key_of(obj)
        known, facts = self.known.setdefault(kind, {}), facts_of(obj)
        before = known.get(key)
        if deleted:
            known.pop(key, None)
            self._open.setdefault(kind, set()).discard(key)
        else:
            self._keep(kind, key, facts)
        if not deleted and before is not None and before.version and before.version == facts.version:
            return Routed(())
        if kind == "Approval":
            return Routed(tuple(sorted(facts.names)))
        if not deleted and before is not None and before.content == facts.content:
            return Routed(((kind, key),), talk=True)
        names = facts.names | (before.names if before is not None else frozenset())
        return Routed(((kind, key), *self._dependants(kind, key, names, obj)))

    def of_child(self, obj: Mapping[str, Any], now: datetime) -> Routed:
        """Return the owners of a Job, pod, claim or Deployment, by its labels, but for those that are history."""
        labels = obj["metadata"].get("labels") or {}
        namespace = obj["metadata"].get("namespace", "")
        targets = [
            (kind, ObjectKey("" if kind in CLUSTER_KINDS else namespace, labels[label]))
            for label, kind in CHILD_OWNERS.items()
            if label in labels
        ]
        return Routed(tuple(target for target in targets if not self._rests(target, now)))

    def relist(self, kind: str, listed: Mapping[ObjectKey, Facts], now: datetime, part: int) -> list[Target]:
        """Take a complete listing of a kind, which replaces what was known, and return what is to be looked at.

        That is what is gone, what is not history, what changed unseen, and of history the part of that number: each object is in
        one of ``PARTS``.
        """
        before = self.known.get(kind)
        self.known[kind], self._open[kind] = {}, set()
        for key, facts in listed.items():
            self._keep(kind, key, facts)
        known = before or {}
        changed = {key for key, facts in listed.items() if before is not None and _changed(known.get(key), facts)}
        if kind == "Approval":
            return sorted({subject for key in changed for subject in listed[key].names})
        turn = {key for key, facts in listed.items() if zlib.crc32(facts.uid.encode()) % PARTS == part % PARTS}
        due = {key for key, facts in listed.items() if not facts.rests(now)}
        return [(kind, key) for key in sorted(due | turn | changed | (known.keys() - listed.keys()))]

    def relist_open(self, kind: str, listed: Mapping[ObjectKey, Facts], now: datetime) -> list[Target]:
        """Take a listing without what people ended, and return what is to be looked at.

        That is what is not history, what changed unseen, what was thought to be open, and what ended lately.
        """
        known = self.known.setdefault(kind, {})
        due = {key for key, facts in listed.items() if not facts.rests(now) or _changed(known.get(key), facts)}
        lately = {key for key, facts in known.items() if not facts.rests(now)}
        for key, facts in listed.items():
            self._keep(kind, key, facts)
        return [(kind, key) for key in sorted(lately | due)]

    def phases(self) -> Counter[tuple[str, str]]:
        """Return the number of objects by (kind, phase)."""
        return Counter((kind, facts.phase) for kind, known in self.known.items() for facts in known.values())

    def _rests(self, target: Target, now: datetime) -> bool:
        facts = self.known.get(target[0], {}).get(target[1])
        return facts is not None and facts.rests(now)

    def _keep(self, kind: str, key: ObjectKey, facts: Facts) -> None:
        self.known.setdefault(kind, {})[key] = facts
        if facts.ended:
            self._open.setdefault(kind, set()).discard(key)
        else:
            self._open.setdefault(kind, set()).add(key)

    def _dependants(
        self, kind: str, key: ObjectKey, names: frozenset[Target], obj: Mapping[str, Any]
    ) -> Iterator[Target]:
        """Yield what names the changed object, directly or by what stands between, and has not ended."""
        changed = (kind, key)
        match kind:
            case "BaseModel":
                servers = self._naming("ModelServer", {changed})
                yield from servers
                yield from self._of_servers(servers)
            case "ComputePool":
                servers = self._naming("ModelServer", {changed})
                yield from servers
                yield from self._naming("FineTuneJob", {changed, *servers})
            case "ApprovalPolicy":
                for dependant in ("FineTuneJob", "ModelRelease"):
                    for one in self._sorted(dependant):
                        if self._policies.get(one.namespace) == key.name:
                            yield dependant, one
            case "ModelServer":
                yield from self._of_servers([changed])
            case "EvaluationSuite":
                jobs = self._naming("FineTuneJob", {changed})
                yield from jobs
                yield from self._releases({changed})
            case "FineTuneJob":
                yield from self._naming("ModelRelease", {changed})
                yield from self._suites(names)
                for told in (obj.get("status") or {}).get("unusableSuites") or []:
                    yield "EvaluationSuite", ObjectKey(key.namespace, str(told["name"]))
                pool = ((obj.get("status") or {}).get("pool") or {}).get("name")
                if pool and (obj.get("status") or {}).get("throughput"):
                    yield "ComputePool", ObjectKey("", str(pool))
            case "ModelRelease":
                yield from sorted(target for target in names if target[0] == "ModelServer")

    def _naming(self, kind: str, targets: Collection[Target]) -> list[Target]:
        """Return what has not ended and names one of ``targets``."""
        known = self.known.get(kind, {})
        return [(kind, key) for key in self._sorted(kind) if not known[key].names.isdisjoint(targets)]

    def _of_servers(self, servers: Iterable[Target]) -> Iterator[Target]:
        targets = frozenset(servers)
        yield from self._naming("FineTuneJob", targets)
        yield from self._releases(targets)

    def _releases(self, targets: frozenset[Target] | set[Target]) -> Iterator[Target]:
        """Yield releases that name one of ``targets``, or whose job does: before it is stated, a release has no server."""
        jobs, known = self.known.get("FineTuneJob", {}), self.known.get("ModelRelease", {})
        for key in self._sorted("ModelRelease"):
            names = set(known[key].names)
            for kind, name in known[key].names:
                if kind == "FineTuneJob" and name in jobs:
                    names |= jobs[name].names
            if not names.isdisjoint(targets):
                yield "ModelRelease", key

    def _suites(self, names: frozenset[Target]) -> list[Target]:
        """Return the suites that a job names, and all that ask the same questions: the tries on them are counted together."""
        own = {target for target in names if target[0] == "EvaluationSuite"}
        questions = {target for target in names if target[0] == QUESTIONS}
        return sorted(own | set(self._naming("EvaluationSuite", questions)))

    def _sorted(self, kind: str) -> list[ObjectKey]:
        return sorted(self._open.get(kind, ()))


def _changed(before: Facts | None, now: Facts) -> bool:
    return before is None or (before.uid, before.content) != (now.uid, now.content)
