"""Routing: which keys to look at when something changed. Pure: an object goes in, keys come out.

A change of a catalogue entry concerns every object that may name it; which ones really do is for their reconcile to
find out. To find those keys without asking the API server, the routing remembers the keys it has seen. They are a hint:
a key whose object is gone costs one read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.kube.client import ObjectKey
from tunegate.reconcile.naming import BASE_MODEL_LABEL, JOB_LABEL, RELEASE_LABEL, SERVER_LABEL

CHILD_OWNERS = {
    JOB_LABEL: "FineTuneJob",
    SERVER_LABEL: "ModelServer",
    RELEASE_LABEL: "ModelRelease",
    BASE_MODEL_LABEL: "BaseModel",
}
"""Label of a child -> kind of the owner that the label's value names."""

DEPENDANTS: dict[str, tuple[str, ...]] = {
    "BaseModel": ("ModelServer", "FineTuneJob", "ModelRelease"),
    "ComputePool": ("ModelServer", "FineTuneJob"),
    "ApprovalPolicy": ("FineTuneJob", "ModelRelease"),
    "ModelServer": ("FineTuneJob", "ModelRelease"),
    "EvaluationSuite": ("FineTuneJob", "ModelRelease"),
    "FineTuneJob": ("ModelRelease", "EvaluationSuite", "ComputePool"),
    "ModelRelease": ("ModelServer",),
}
"""Kind -> kinds whose objects may name it: those of its namespace, or all for cluster-scoped kinds."""

CLUSTER_KINDS = frozenset({"BaseModel", "ComputePool", "ApprovalPolicy"})
SLOW_TALK = frozenset({"progress", "message", "observedGeneration"})
"""Status fields that change often and concern nobody else."""

Target = tuple[str, ObjectKey]


@dataclass
class Routing:
    """Remembers keys and what was last seen of each object."""

    known: dict[str, set[ObjectKey]] = field(default_factory=dict)
    _seen: dict[Target, str] = field(default_factory=dict)

    def of_resource(self, obj: Mapping[str, Any], *, deleted: bool = False) -> list[Target]:
        """Return the keys that a change of one of our own objects concerns."""
        kind, key = obj["kind"], _key(obj)
        known = self.known.setdefault(kind, set())
        known.discard(key) if deleted else known.add(key)
        if kind == "Approval":
            subject = obj["spec"]["subjectRef"]
            return [(subject["kind"], ObjectKey(key.namespace, subject["name"]))]
        targets: list[Target] = [(kind, key)]
        if self._is_news(kind, key, obj, deleted):
            for dependant in DEPENDANTS.get(kind, ()):
                targets += [(dependant, k) for k in self._reachable(dependant, key.namespace)]
        return targets

    def of_child(self, obj: Mapping[str, Any]) -> list[Target]:
        """Return the owners of a Job, pod, claim or Deployment, by its labels."""
        labels = obj["metadata"].get("labels") or {}
        namespace = obj["metadata"].get("namespace", "")
        return [
            (kind, ObjectKey("" if kind in CLUSTER_KINDS else namespace, labels[label]))
            for label, kind in CHILD_OWNERS.items()
            if label in labels
        ]

    def relist(self, kind: str, objects: Iterable[Mapping[str, Any]]) -> list[Target]:
        """Take a complete listing of a kind: it replaces what was known, so that ghosts vanish."""
        listed = {_key(obj) for obj in objects}
        vanished = self.known.get(kind, set()) - listed
        for key in vanished:
            self._seen.pop((kind, key), None)
        self.known[kind] = listed
        return [(kind, key) for key in sorted(listed | vanished)]

    def _is_news(self, kind: str, key: ObjectKey, obj: Mapping[str, Any], deleted: bool) -> bool:
        if deleted:
            self._seen.pop((kind, key), None)
            return True
        metadata, status = obj["metadata"], obj.get("status") or {}
        told = {name: value for name, value in status.items() if name not in SLOW_TALK}
        told["conditions"] = [
            {name: value for name, value in c.items() if name in ("type", "status", "reason")}
            for c in status.get("conditions") or []
        ]
        facts = [metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), told]
        print_ = json.dumps(facts, sort_keys=True)
        news = self._seen.get((kind, key)) != print_
        self._seen[(kind, key)] = print_
        return news

    def _reachable(self, kind: str, namespace: str) -> list[ObjectKey]:
        keys = self.known.get(kind, set())
        return sorted(key for key in keys if not namespace or not key.namespace or key.namespace == namespace)


def _key(obj: Mapping[str, Any]) -> ObjectKey:
    return ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
