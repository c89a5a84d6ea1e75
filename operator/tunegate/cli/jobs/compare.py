"""`compare`: two jobs side by side: what was asked for otherwise, what came of it, what it took."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.numbers import duration
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.describe.words import text_of
from tunegate.cli.failure import WrongUsage
from tunegate.cli.reference import needed

NOT_SETTINGS = frozenset({"requestedBy", "derivedFrom", "suspend", "ttlSecondsAfterFinished"})
NONE = "-"


def compare(cluster: Cluster, options: Namespace) -> int:
    """Print two jobs beside each other."""
    namespace = options.namespace or cluster.namespace
    if options.subject == options.other:
        raise WrongUsage(f"{options.subject} cannot be compared with itself: name two jobs")
    first, second = (needed(cluster, FineTuneJob, one.name, namespace) for one in (options.subject, options.other))
    document = compared(first, second)
    if options.output == "text":
        _print(document)
    else:
        screen.write(document, options.output)
    return 0


def compared(first: FineTuneJob, second: FineTuneJob) -> Json:
    """Return what differs in settings and inputs, all results, and whether scores can be held against each other."""
    return {
        "jobs": [first.name, second.name],
        "settings": _differences(_settings(first), _settings(second)),
        "inputs": _differences(_inputs(first), _inputs(second)),
        "results": _pairs(_results(first), _results(second)),
        "scores": _pairs(_scores(first), _scores(second)),
        "notes": list(_notes(first, second)),
    }


def _settings(job: FineTuneJob) -> dict[str, str]:
    return {name: value for name, value in _flat(job.spec.to_dict()) if name.partition(".")[0] not in NOT_SETTINGS}


def _flat(part: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", text_of(value)


def _inputs(job: FineTuneJob) -> dict[str, str]:
    """Return what the stages really read, by digest."""
    status = job.status
    data = status.dataset
    found = {
        "data": data.digest if data else None, "redacted data": data.redacted_digest if data else None,
        "rows": data.rows if data else None, "base model": status.base_model_digest,
        "engine profile": status.profile_digest, "questions of the suite": status.suite_data_digest,
        "suite": status.suite_digest, "documents": status.documents_digest,
    }  # fmt: skip
    return {name: str(value) for name, value in found.items() if value is not None}


def _results(job: FineTuneJob) -> dict[str, str]:
    status, gate = job.status, job.status.gate
    currency = status.pool.currency if status.pool else ""
    found = {
        "phase": status.phase, "gate": gate.outcome if gate else None,
        "tries on the suite by then": status.suite_tries.total if status.suite_tries else None,
        "device hours": status.device_hours, "cost": f"{status.cost} {currency}" if status.cost else None,
        "took": _took(job), "asked for by": job.spec.requested_by.username,
        "derived from": job.spec.derived_from.name if job.spec.derived_from else None,
    }  # fmt: skip
    return {name: str(value) for name, value in found.items() if value is not None}


def _scores(job: FineTuneJob) -> dict[str, str]:
    """Return the tuned model's score on each metric, and each alternative's on the gate's."""
    gate = job.status.gate
    if gate is None:
        return {}
    tuned = {f"tuned, {one.name}": one.score for one in gate.metrics} or {f"tuned, {gate.metric}": gate.tuned}
    return tuned | {f"{arm.name}, {gate.metric}": arm.score for arm in gate.arms}


def _took(job: FineTuneJob) -> str | None:
    begin, end = job.metadata.get("creationTimestamp"), job.status.completion_time
    if not begin or not end:
        return None
    return duration((datetime.fromisoformat(end) - datetime.fromisoformat(str(begin))).total_seconds())


def _notes(first: FineTuneJob, second: FineTuneJob) -> Iterator[str]:
    one, other = first.status.suite_data_digest, second.status.suite_data_digest
    if one is not None and other is not None and one != other:
        yield "the questions of the suites differ: scores say nothing about each other"
    for job in (first, second):
        if not job.status.ended:
            yield f"job/{job.name} has not ended: it is {job.status.phase}"


def _pairs(first: Mapping[str, str], second: Mapping[str, str]) -> list[Json]:
    names = [*first, *(name for name in second if name not in first)]
    return [{"what": name, "values": [first.get(name, NONE), second.get(name, NONE)]} for name in names]


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[Json]:
    return [pair for pair in _pairs(first, second) if pair["values"][0] != pair["values"][1]]


def _print(document: Json) -> None:
    out = screen.console(pipe_width=screen.PAGE_WIDTH)
    screen.heading(out, " and ".join(f"job/{name}" for name in document["jobs"]))
    for note in document["notes"]:
        out.print(f"  {screen.shown(note)}")
    headers = ("", *document["jobs"])
    for part, title, nothing in (
        ("settings", "Settings that differ", "none"), ("inputs", "Inputs that differ", "none"),
        ("results", "Results", ""), ("scores", "Scores", "neither job came to its gate"),
    ):  # fmt: skip
        rows = [(one["what"], *one["values"]) for one in document[part]]
        screen.heading(out, title, "" if rows else nothing)
        if rows:
            screen.table(out, headers, rows, indent=2)
