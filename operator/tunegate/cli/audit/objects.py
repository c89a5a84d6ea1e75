"""What the ledger says against what is there: decisions and releases without records, and records without them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.api.approval import Approval
from tunegate.api.modelrelease import MAY_SERVE, ModelRelease
from tunegate.ledger.chain import Problem, record_name
from tunegate.release.content import is_recorded


@dataclass
class Remembered:
    """What of the records concerns objects, noted while they pass by."""

    decisions: list[Mapping[str, Any]] = field(default_factory=list)
    approved: list[Mapping[str, Any]] = field(default_factory=list)
    requested: set[str] = field(default_factory=set)
    """UIDs of releases."""
    namespaces: set[str] = field(default_factory=set)
    last_time: str = ""

    def note(self, spec: Mapping[str, Any]) -> None:
        """Note one well-formed record."""
        subject = spec["subject"]
        self.namespaces.add(subject["namespace"])
        self.last_time = max(self.last_time, spec["time"])
        if spec["type"] == "ApprovalRecorded":
            self.decisions.append(spec)
        elif spec["type"] in ("ReleaseApproved", "BreakGlassGranted"):
            self.approved.append(spec)
        elif spec["type"] == "ReleaseRequested":
            self.requested.add(subject["uid"])

    def bound(self) -> set[str]:
        """Return the namespaces in which the records say that objects are kept forever."""
        return {spec["subject"]["namespace"] for spec in (*self.decisions, *self.approved)}


def without_objects(
    seen: Remembered, approvals: Iterable[Approval], releases: Iterable[ModelRelease], namespaces: Iterable[str]
) -> list[Problem]:
    """Return records whose Approval or approved release is gone or another one.

    ``namespaces`` are those of which all objects are known; records of others are not compared.
    """
    decisions, served = {one.uid: one for one in approvals}, {one.uid: one for one in releases}
    known = set(namespaces)
    found = []
    for spec in seen.decisions:
        subject, payload = spec["subject"], spec["payload"]
        uid = payload.get("approval", "")
        decision = decisions.get(uid)
        if subject["namespace"] in known and (
            decision is None or not is_recorded(decision, payload, subject["namespace"])
        ):
            state = "is gone" if decision is None else "was changed"
            found.append(_problem(spec, f"Approval {subject['namespace']}/{payload.get('name', uid)} {state}"))
    for spec in seen.approved:
        subject = spec["subject"]
        release = served.get(subject["uid"])
        if subject["namespace"] in known and (release is None or not _approved(spec, release)):
            state = "is gone" if release is None else "was changed"
            found.append(_problem(spec, f"approved ModelRelease {subject['namespace']}/{subject['name']} {state}"))
    return found


def _approved(spec: Mapping[str, Any], release: ModelRelease) -> bool:
    """Tell whether a release is the one that was approved: the digest in its status is what people read and sign."""
    subject = spec["subject"]
    said = (subject["namespace"], subject["name"], spec["payload"].get("releaseDigest"))
    return said == (release.namespace, release.name, release.status.release_digest)


def without_records(seen: Remembered, approvals: Iterable[Approval], releases: Iterable[ModelRelease]) -> list[Problem]:
    """Return decisions on recorded releases, and approved releases, that no record tells of.

    What was made after the last record may still be waiting for its own.
    """
    decided = {spec["payload"].get("approval") for spec in seen.decisions}
    approved = {spec["subject"]["uid"] for spec in seen.approved}
    found = []
    for one in approvals:
        made = str(one.metadata.get("creationTimestamp", ""))
        if one.spec.subject_ref.uid in seen.requested and one.uid not in decided and made < seen.last_time:
            found.append(Problem(f"Approval {one.namespace}/{one.name}", "is in no record", made))
    for release in releases:
        status = release.status
        if (status.approved_time or status.phase in MAY_SERVE) and release.uid not in approved:
            where = f"ModelRelease {release.namespace}/{release.name}"
            found.append(Problem(where, "counts as approved, but no record says so", status.approved_time or ""))
    return found


def _problem(spec: Mapping[str, Any], message: str) -> Problem:
    return Problem(record_name(spec["sequence"]), message, spec["time"])
