"""What routing keeps of an object: some hundred bytes that say what it names and whether it is history. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunegate.kube.client import ObjectKey
from tunegate.reconcile.history import SETTLED, ended, ever_approved, expiration_time, settled_time

CLUSTER_KINDS = frozenset({"BaseModel", "ComputePool", "ApprovalPolicy"})
SLOW_TALK = frozenset({"progress", "message", "observedGeneration"})
"""Status fields that change often and concern nobody else."""
QUESTIONS = "Questions"
"""Stands for a kind: suites and jobs name the digest of the questions, by whatever name a suite asks them."""

Target = tuple[str, ObjectKey]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept of one object."""

    uid: str
    version: str
    """The object's `resourceVersion`."""
    phase: str
    names: frozenset[Target]
    """The objects that it refers to."""
    content: bytes
    """Digest of what may concern others."""
    ended: bool
    """Nothing that happens to others concerns it any more."""
    settled: datetime | None
    """From then on it needs no look at each resync either; None: never."""
    expires: datetime | None
    """When its time to live ends."""
    kept: bool
    """A release that was ever approved: nobody deletes it."""

    def rests(self, now: datetime) -> bool:
        """Tell whether nothing is to be done for it, nor expected."""
        if self.settled is None or self.settled > now:
            return False
        return self.expires is None or not self.expires <= now < self.expires + SETTLED


def key_of(obj: Mapping[str, Any]) -> ObjectKey:
    """Return an object's key."""
    return ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def facts_of(obj: Mapping[str, Any]) -> Facts:
    """Return what is kept of an object of ours."""
    return Facts(
        uid=str(obj["metadata"].get("uid") or ""),
        version=str(obj["metadata"].get("resourceVersion") or ""),
        phase=str((obj.get("status") or {}).get("phase") or "None"),
        names=frozenset(_names(obj)),
        content=_content(obj),
        ended=ended(obj),
        settled=settled_time(obj),
        expires=expiration_time(obj),
        kept=ever_approved(obj),
    )


def _names(obj: Mapping[str, Any]) -> Iterator[Target]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    references: dict[str, Any] = {}
    digest = None
    match obj["kind"]:
        case "Approval":
            references = {spec["subjectRef"]["kind"]: spec["subjectRef"]}
        case "ModelServer":
            references = {"BaseModel": spec.get("baseModelRef"), "ComputePool": spec.get("poolRef")}
        case "FineTuneJob":
            digest = status.get("suiteDataDigest")
            references = {
                "ModelServer": spec.get("serverRef"),
                "EvaluationSuite": spec.get("suiteRef"),
                "ComputePool": spec.get("poolRef"),
            }
        case "ModelRelease":
            references = {"FineTuneJob": spec.get("jobRef"), "ModelServer": status.get("serverRef")}
        case "EvaluationSuite":
            digest = (spec.get("data") or {}).get("digest")
    for kind, reference in references.items():
        if reference:
            namespace = "" if kind in CLUSTER_KINDS else obj["metadata"].get("namespace", "")
            yield kind, ObjectKey(namespace, str(reference["name"]))
    if digest:
        yield QUESTIONS, ObjectKey("", str(digest))


def _content(obj: Mapping[str, Any]) -> bytes:
    metadata, status = obj["metadata"], obj.get("status") or {}
    told = {name: value for name, value in status.items() if name not in SLOW_TALK}
    told["conditions"] = [
        {name: value for name, value in one.items() if name in ("type", "status", "reason")}
        for one in status.get("conditions") or []
    ]
    facts = [metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), told]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
