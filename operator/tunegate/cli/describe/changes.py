"""What a new release would change against the one that serves now under the same name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.describe.words import text_of

UNKNOWN = "not seen"


@dataclass(frozen=True)
class Side:
    """A release with what it rests on; None where a part is gone or this person may not read it."""

    release: ModelRelease
    job: FineTuneJob | None
    suite: EvaluationSuite | None
    policy: str | None
    """Name and digest of the frozen policy, as the ledger has them."""
    rules: Mapping[str, Any] | None = None
    """The frozen policy's content, as the statement has it."""


@dataclass(frozen=True)
class Change:
    """One difference in words of the release; a side that could not be read says so, and counts as a difference."""

    what: str
    then: str
    now: str

    def to_dict(self) -> dict[str, str]:
        """Return the change as plain data."""
        return asdict(self)


def changes(old: Side, new: Side) -> list[Change]:
    """Return what differs, in the order in which a reviewer would ask."""
    then, now = dict(_facts(old)), dict(_facts(new))
    names = [*now, *(name for name in then if name not in now)]
    pairs = [(name, then.get(name, "-"), now.get(name, "-")) for name in names]
    if old.rules is not None and new.rules is not None:
        pairs += [
            (f"policy: {key}", text_of(old.rules.get(key)), text_of(new.rules.get(key)))
            for key in sorted({*old.rules, *new.rules})
        ]
    return [Change(*pair) for pair in pairs if pair[1] != pair[2] or UNKNOWN in pair[1:]]


def _facts(side: Side) -> Iterator[tuple[str, str]]:
    release = side.release.spec
    yield "intended use", release.intended_use
    yield "risk", release.risk
    yield "requested by", release.requested_by.username
    if side.job is None:
        yield from ((name, UNKNOWN) for name in ("data", "base model", "engine profile", "suite", "training"))
    else:
        yield from _job(side.job)
    yield "margin of the suite", side.suite.spec.primary_metric.margin if side.suite else UNKNOWN
    yield "policy", side.policy or UNKNOWN


def _job(job: FineTuneJob) -> Iterator[tuple[str, str]]:
    dataset, status = job.spec.dataset, job.status
    found = status.dataset
    yield "data", found.digest if found else UNKNOWN
    yield "redacted data", (found.redacted_digest if found else None) or "-"
    yield "rows", str(found.rows) if found else UNKNOWN
    yield "data class", dataset.classification
    yield "license", dataset.license
    yield "source", dataset.source
    yield "may be used until", dataset.expiration_date or "no day is stated"
    yield "base model", status.base_model_digest or UNKNOWN
    yield "engine profile", status.profile_digest or UNKNOWN
    yield "suite", f"{job.spec.suite_ref.name} {status.suite_digest or UNKNOWN}"
    yield "source of the adapter", job.spec.source
    for name, value in (job.spec.method.to_dict() if job.spec.method is not None else {}).items():
        yield f"training: {name}", str(value)
    if status.gate is not None:
        yield "score", f"{status.gate.metric} {status.gate.tuned} on {status.gate.questions} questions"
    waiver = status.waiver
    yield "waived", ", ".join(one.check for one in waiver.findings) if waiver else "-"
