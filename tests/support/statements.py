"""A data statement as the validate stage would write it."""

from __future__ import annotations

from typing import Any

from tunegate.api.datachecks import DEFAULTS
from tunegate.api.datastatement import DataSplit, DataStatement
from tunegate.api.stage.configs import DataOrigin
from tunegate.api.stage.findings import ComparedSuite, Finding
from tunegate.digests import sha256

ORIGIN = DataOrigin(
    uri="pvc://data/rows.jsonl", source="notices of packages", license="MIT", classification="Public", steward="Ada"
)


def data_statement(**changes: Any) -> DataStatement:
    facts: dict[str, Any] = {
        "namespace": "team", "job": "job", "job_uid": "11111111-2222-3333-4444-555555555555", "outcome": "Passed",
        "origin": ORIGIN, "form": "Messages", "layout": "File", "files": {".jsonl": 1}, "digest": sha256(b"rows"),
        "rows_digest": sha256(b"row set"), "rows": 267, "tokens": 30_000, "longest_row_tokens": 200,
        "token_histogram": {"64": 20, "128": 200, "256": 47},
        "split": DataSplit(
            group_field="holder", development_fraction="0.1", seed=17, max_length=256, training_rows=240,
            development_rows=27,
        ),
        "base_model": "smollm2", "base_model_digest": sha256(b"base"), "chat_template_digest": sha256(b"template"),
        "suite": "suite", "suite_digest": sha256(b"suite"), "suite_questions": 112,
        "compared_suites": [
            ComparedSuite(name="suite", digest=sha256(b"suite"), questions=112),
            ComparedSuite(name="tone", digest=sha256(b"tone"), questions=40),
        ],
        "checks": list(DEFAULTS.values()),
        "findings": [Finding(check="Duplicates", action="Warn", count=2, rows=["7", "9"], message="2 rows repeat")],
        "code_digest": sha256(b"code"), "libraries": {"tokenizers": "0.22.1"},
    }  # fmt: skip
    return DataStatement(**{**facts, **changes})
