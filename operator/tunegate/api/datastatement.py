"""The data statement: what a training set is, where it came from and what was checked, in one document without any row.

The *validate* stage writes it once and keeps it in the registry; a release names its digest.
"""

from __future__ import annotations

from typing import Literal

from tunegate.api.datachecks import CheckSetting
from tunegate.api.markers import Digest, StrictModel
from tunegate.api.numbers import count_of
from tunegate.api.stage.configs import DataOrigin
from tunegate.api.stage.findings import ComparedSuite, Finding, RedactedData


class DataSplit(StrictModel):
    """Which rows train and which choose the checkpoint; the same fields make the same split again."""

    group_field: str | None = None
    development_fraction: str
    seed: int
    max_length: int
    """In tokens; longer rows are in neither part."""
    training_rows: int
    development_rows: int


class DataStatement(StrictModel):
    """Everything that is known of a training set but its text."""

    kind: Literal["DataStatement"] = "DataStatement"
    version: Literal[1] = 1
    namespace: str
    job: str
    job_uid: str
    outcome: Literal["Passed", "Refused"]
    origin: DataOrigin
    form: str
    layout: Literal["File", "Folder"]
    files: dict[str, int]
    """How a file's name ends, to the number of such files."""
    digest: Digest
    """SHA-256 of the source's file, or of a folder's manifest."""
    redacted: RedactedData | None = None
    """The copy that stood in for the source; rows, tokens and lengths are the copy's."""
    rows_digest: Digest
    """SHA-256 over the sorted SHA-256 of every row that the chat template renders, as JSON of messages and tools."""
    rows: int
    """All, broken ones included."""
    tokens: int
    longest_row_tokens: int
    token_histogram: dict[str, int]
    """Rows by length: the power of two up to which their tokens reach, to their number."""
    split: DataSplit
    base_model: str
    base_model_digest: Digest
    chat_template_digest: Digest
    suite: str
    suite_digest: Digest
    suite_questions: int
    compared_suites: list[ComparedSuite] = []
    """As in ``ValidateResult``; those that could not be read are among the findings."""
    checks: list[CheckSetting]
    findings: list[Finding]
    code_digest: Digest
    """Of the source files that read, checked and split the rows."""
    libraries: dict[str, str]
    """Version of each library that decides what the checks find."""

    def facts(self) -> dict[str, str]:
        """Return what people want to know first, by name."""
        origin, split = self.origin, self.split
        grouped = f", whole groups of the field {split.group_field}" if split.group_field else ""
        return {
            "Job": f"{self.namespace}/{self.job} ({self.job_uid})",
            "Outcome": self.outcome,
            "Source": origin.source,
            "Steward": origin.steward or "nobody named",
            "License": origin.license,
            "May be used until": origin.expiration_date or "no day is stated",
            "Classification": origin.classification,
            "Place": origin.uri,
            "Files": ", ".join(f"{count_of(count, 'file')} {end}" for end, count in self.files.items()),
            "Form": self.form,
            "File digest": self.digest,
            **self._redaction(),
            "Row-set digest": self.rows_digest,
            "Rows": f"{self.rows}, {self.tokens} tokens, the longest has {self.longest_row_tokens}",
            "Split": f"{split.training_rows} train, {split.development_rows} choose the checkpoint "
            f"(share {split.development_fraction}, seed {split.seed}{grouped}); up to {split.max_length} tokens a row",
            "Base model": f"{self.base_model}, {self.base_model_digest}",
            "Chat template": self.chat_template_digest,
            "Suite": f"{self.suite}, {self.suite_questions} questions, {self.suite_digest}",
            "Compared with": "; ".join(
                f"suite {one.name}, {one.questions} questions, {one.digest}" for one in self.compared_suites
            )
            or "no suite",
            "Check code": self.code_digest,
            "Libraries": ", ".join(f"{name} {version}" for name, version in self.libraries.items()),
        }

    def _redaction(self) -> dict[str, str]:
        if self.redacted is None:
            return {}
        counts = ", ".join(f"{count} {name}" for name, count in self.redacted.replaced.items())
        return {"Redacted copy": f"{self.redacted.digest}, {count_of(self.redacted.rows, 'row')} changed: {counts}"}
