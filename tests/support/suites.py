"""Small suites and rows for the tests of this folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunegate.api.evaluationsuite import EvaluationSuiteSpec

SCHEMA = {
    "type": "object",
    "properties": {"holder": {"type": "string"}, "years": {"type": "string"}},
    "required": ["holder", "years"],
    "additionalProperties": False,
}


def suite_spec(**changes: Any) -> EvaluationSuiteSpec:
    """Return a suite that decides by exact match of texts, with ``changes`` in the API's spelling."""
    document: dict[str, Any] = {
        "data": {"uri": "pvc://data/suite.jsonl", "digest": "sha256:" + "0" * 64, "groupField": "group"},
        "task": {"type": "Generation", "maxTokens": 32},
        "primaryMetric": {"name": "ExactMatch", "margin": "0.05", "minimum": "0"},
        "resamples": 2000,
        "seed": 17,
    }
    return EvaluationSuiteSpec.model_validate({**document, **changes})


def write_rows(path: Path, rows: Sequence[tuple[str, str, str]]) -> str:
    """Write (question, answer, group) rows as chat JSONL; return the file's digest."""
    lines = [
        json.dumps({
            "messages": [
                {"role": "system", "content": "Answer."},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
            "group": group,
        })
        for question, answer, group in rows
    ]  # fmt: skip
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(content)
    return "sha256:" + hashlib.sha256(content).hexdigest()
