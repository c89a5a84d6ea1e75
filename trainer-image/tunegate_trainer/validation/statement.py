"""The data statement, made from what the checks found: settings, versions, counts and digests, and no text of any row."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tunegate import digests
from tunegate.api.datastatement import DataSplit, DataStatement
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import ValidateConfig
from tunegate.api.stage.results import ValidateResult
from tunegate_trainer.data.shards import ACCEPTED, Shards

ROOT = Path(__file__).resolve().parents[1]
CODE = ("checks", "data", "validation")
"""Packages that decide what is read, found and kept aside."""
LIBRARIES = ("transformers", "tokenizers", "pyarrow", "numpy", "presidio-analyzer", "detect-secrets", "rensa")


def make_statement(config: ValidateConfig, result: ValidateResult, shards: Shards) -> DataStatement:
    """Return the statement of the source in ``shards``, which ``result`` is about."""
    method = config.method
    return DataStatement(
        namespace=config.job.namespace,
        job=config.job.name,
        job_uid=config.job.uid,
        outcome=result.outcome,
        origin=config.origin,
        form=result.dataset_form,
        layout="File" if shards.root in shards.files else "Folder",
        files=dict(sorted(Counter(map(_end, shards.files)).items())),
        digest=result.dataset_digest,
        redacted=result.redacted,
        rows_digest=result.rows_digest,
        rows=result.rows,
        tokens=result.tokens,
        longest_row_tokens=result.longest_row_tokens,
        token_histogram=result.token_histogram,
        split=DataSplit(
            group_field=config.dataset.group_field,
            development_fraction=method.development_fraction if method else "0",
            seed=method.seed if method else 0,
            max_length=method.max_length if method else config.profile.max_model_len,
            training_rows=result.training_rows,
            development_rows=result.development_rows,
        ),
        base_model=config.base_model.name,
        base_model_digest=config.base_model.manifest_digest,
        chat_template_digest=result.chat_template_digest,
        suite=config.suite.name,
        suite_digest=config.suite.digest,
        suite_questions=result.suite_questions,
        compared_suites=result.compared_suites,
        checks=result.checks,
        findings=result.findings,
        code_digest=code_digest(),
        libraries={name: version(name) for name in LIBRARIES},
    )


def code_digest(root: Path = ROOT) -> str:
    """Return the digest of the manifest of the source files: it changes with the code, whatever a version says."""
    files = [file for package in CODE for file in sorted((root / package).glob("*.py"))]
    return digests.manifest_digest(Manifest(files=[digests.file_entry(root, file) for file in files]))


def _end(file: Path) -> str:
    return next(end for end in ACCEPTED if file.name.endswith(end))
