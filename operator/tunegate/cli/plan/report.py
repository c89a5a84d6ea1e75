"""The outcome of `plan` for people, for scripts, and for code review tools (SARIF 2.1.0, OASIS)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.numbers import count_of, plain
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.results import RUNS, ValidateResult
from tunegate.cli import screen
from tunegate.reconcile.finetunejob.results import break_even

Json = dict[str, Any]
Format = Callable[[FineTuneJob, ValidateResult, ComputePoolSpec], str]
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"Block": "error", "Redact": "note", "Warn": "warning"}
WIDTH = 120
SHOWN_ROWS = 10
"""Row numbers of a finding that a page for people lists."""


def as_text(job: FineTuneJob, result: ValidateResult, pool: ComputePoolSpec) -> str:
    """Return tables for people."""
    return _tables(job, result, pool, WIDTH, SHOWN_ROWS)


def as_wide(job: FineTuneJob, result: ValidateResult, pool: ComputePoolSpec) -> str:
    """Return the same with every row number that is known, and lines that are never broken."""
    return _tables(job, result, pool, screen.PIPE_WIDTH, None)


def _tables(job: FineTuneJob, result: ValidateResult, pool: ComputePoolSpec, width: int, places: int | None) -> str:
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, width=width)
    console.print(f"{job.name}: {result.outcome}{'' if result.findings else ', no findings'}")
    rows = [
        (finding.action, finding.check, finding.message, finding.places(places or len(finding.rows)))
        for finding in sorted(result.findings, key=lambda one: one.action)
    ]
    if rows:
        screen.table(console, ("action", "check", "what", "rows"), rows, indent=2)
    screen.facts(console, list(_facts(result, pool).items()))
    return out.getvalue()


def as_json(job: FineTuneJob, result: ValidateResult, pool: ComputePoolSpec) -> str:
    """Return the result as the stage would push it."""
    return json.dumps(result.to_dict(), indent=2, sort_keys=True) + "\n"


def as_sarif(job: FineTuneJob, result: ValidateResult, pool: ComputePoolSpec) -> str:
    """Return the findings as a SARIF log; rows of JSON lines are lines of the data's file."""
    names = sorted({finding.check for finding in result.findings})
    driver = {"name": "tunegate plan", "rules": [{"id": name} for name in names]}
    results = [_sarif_result(finding, job.spec.dataset.uri) for finding in result.findings]
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2) + "\n"


FORMATS: dict[str, Format] = {"text": as_text, "wide": as_wide, "json": as_json, "sarif": as_sarif}


def _sarif_result(finding: Finding, uri: str) -> Json:
    found: Json = {
        "ruleId": finding.check,
        "level": LEVELS[finding.action],
        "message": {"text": finding.message},
        "properties": {"count": finding.count},
    }
    if finding.rows and not finding.check.startswith("Suite"):
        found["locations"] = [_location(place, uri) for place in finding.rows]
    return found


def _location(place: str, uri: str) -> Json:
    """A place is a row's number, in a folder of files with the file's name and a colon before it."""
    file, _, row = place.rpartition(":")
    artifact = {"uri": f"{uri}/{file}" if file else uri}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": int(row)}}}


def _facts(result: ValidateResult, pool: ComputePoolSpec) -> dict[str, str]:
    facts = {
        "data": f"{count_of(result.rows, 'row')} ({result.dataset_form}) in {count_of(result.dataset_files or 1, 'file')}, "
        f"{result.tokens} tokens, the longest has {result.longest_row_tokens}; {result.training_rows} train, "
        f"{result.development_rows} choose the checkpoint, {result.rows_too_long} are left out as too long",
        "data digest": result.dataset_digest,
        **({"redacted digest": result.redacted.digest} if result.redacted else {}),
        **({"documents digest": result.documents_digest} if result.documents_digest else {}),
        "suite": f"{result.suite_questions} questions, which show gains from {result.smallest_visible_gain:.3f} on"
        if result.suite_questions
        else "its questions were not read here",
        "compared with": ", ".join(suite.name for suite in result.compared_suites) or "no suite",
        "adapter": f"{result.trainable_parameters} parameters, {result.adapter_bytes / 1e6:.1f} MB",
    }
    if result.throughput is not None:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in result.memory_parts.items())
        facts["peak memory"] = f"up to {result.peak_memory_bytes / 1e9:.2f} GB for each process ({parts})"
        low, high = result.usual_cost
        facts["one run"] = f"{plain(result.device_hours)} device hours, {plain(result.cost)} {pool.currency}"
        source = (
            f"measured in {count_of(result.throughput_runs, 'training')}"
            if result.throughput_runs
            else "as the pool's spec says"
        )
        facts["calculated with"] = f"{plain(result.throughput)} tokens/s per device and billion parameters, {source}"
        facts["until it is good"] = (
            f"usually {RUNS[0]} to {RUNS[1]} runs: {plain(low)} to {plain(high)} {pool.currency}"
        )
    if result.savings:
        when = break_even(result.savings)
        facts["saves a month"] = f"{plain(result.savings.monthly)} {pool.currency}"
        facts["has paid after"] = when if when == "never" else f"{when} months, at these {RUNS[0]} to {RUNS[1]} runs"
    return facts
