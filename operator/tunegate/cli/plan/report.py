"""The outcome of `plan` for people, for scripts, and for code review tools (SARIF 2.1.0, OASIS)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.results import RUNS, ValidateResult
from tunegate.reconcile.finetunejob.results import break_even

Json = dict[str, Any]
Format = Callable[[FineTuneJob, ValidateResult, ComputePoolSpec], str]
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"Block": "error", "Redact": "note", "Warn": "warning"}
WIDTH = 120


def as_text(job: FineTuneJob, result: ValidateResult, pool: ComputePoolSpec) -> str:
    """Return tables for people."""
    out = io.StringIO()
    console = Console(file=out, highlight=False, width=WIDTH)
    console.print(f"{job.name}: {result.outcome}{'' if result.findings else ', no findings'}")
    table = Table("action", "check", "what", "rows")
    for finding in sorted(result.findings, key=lambda one: one.action):
        table.add_row(finding.action, finding.check, finding.message, finding.places(10))
    if result.findings:
        console.print(table)
    for name, text in _facts(result, pool).items():
        console.print(f"  {name:17} {text}", markup=False)
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


FORMATS: dict[str, Format] = {"text": as_text, "json": as_json, "sarif": as_sarif}


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
        "data": f"{result.rows} rows ({result.dataset_form}) in {result.dataset_files} files, {result.tokens} tokens, the "
        f"longest has {result.longest_row_tokens}; {result.training_rows} train, {result.development_rows} choose the "
        f"checkpoint, {result.rows_too_long} are left out as too long",
        "data digest": result.dataset_digest,
        **({"redacted digest": result.redacted.digest} if result.redacted else {}),
        **({"documents digest": result.documents_digest} if result.documents_digest else {}),
        "suite": f"{result.suite_questions} questions, which show gains from {result.smallest_visible_gain:.3f} on",
        "compared with": ", ".join(suite.name for suite in result.compared_suites) or "no suite",
        "adapter": f"{result.trainable_parameters} parameters, {result.adapter_bytes / 1e6:.1f} MB",
    }
    if result.throughput is not None:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in result.memory_parts.items())
        facts["peak memory"] = f"up to {result.peak_memory_bytes / 1e9:.2f} GB for each process ({parts})"
        low, high = result.usual_cost
        facts["one run"] = f"{result.device_hours:.3g} device hours, {result.cost:.4g} {pool.currency}"
        source = (
            f"measured in {result.throughput_runs} trainings" if result.throughput_runs else "as the pool's spec says"
        )
        facts["reckoned with"] = f"{result.throughput:g} tokens/s per device and billion parameters, {source}"
        facts["until it is good"] = f"usually {RUNS[0]} to {RUNS[1]} runs: {low:.4g} to {high:.4g} {pool.currency}"
    if result.savings:
        when = break_even(result.savings)
        facts["saves a month"] = f"{result.savings.monthly:.4g} {pool.currency}"
        facts["has paid after"] = when if when == "never" else f"{when} months, at these {RUNS[0]} to {RUNS[1]} runs"
    return facts
