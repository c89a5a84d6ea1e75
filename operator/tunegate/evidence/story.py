"""The sources of the folder, read: what a release was made of, who decided, what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.datastatement import DataStatement
from tunegate.api.finetunejob.status import StageName
from tunegate.api.manifest import FileEntry
from tunegate.api.stage.results import EvaluateResult, StageResult, TrainResult
from tunegate.ledger import chain
from tunegate.release.statement import ReleaseStatement

Json = dict[str, Any]

GRANTS = ("ReleaseApproved", "BreakGlassGranted", "WaiverGranted")
"""Records that name the decisions which were counted."""


@dataclass(frozen=True)
class Difference:
    """One thing that does not fit. ``file`` is its path in the folder."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Documents:
    """What the release statement names, read."""

    data: DataStatement
    results: Mapping[StageName, StageResult]
    files: tuple[FileEntry, ...]
    """Of the adapter, by path."""

    @property
    def evaluation(self) -> EvaluateResult:
        """The verdict of the gate: no release statement is made without one."""
        found = self.results["Evaluate"]
        if not isinstance(found, EvaluateResult):
            raise AssertionError("documents are made after each result was compared with its stage")
        return found

    @property
    def training(self) -> TrainResult | None:
        """What training did; None for an imported adapter."""
        found = self.results.get("Train")
        return found if isinstance(found, TrainResult) else None


@dataclass(frozen=True)
class Subject:
    """What is decided on: known before anybody decides."""

    statement: ReleaseStatement
    digest: str
    """The release digest."""
    documents: Documents

    @property
    def data(self) -> DataStatement:
        """What was stated and found of the training data."""
        return self.documents.data

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The adapter's files, by path."""
        return self.documents.files

    @property
    def evaluation(self) -> EvaluateResult:
        """The verdict of the gate."""
        return self.documents.evaluation

    @property
    def training(self) -> TrainResult | None:
        """What training did; None for an imported adapter."""
        return self.documents.training


@dataclass(frozen=True)
class Story(Subject):
    """Everything that the sources say, after they were found to fit together."""

    approvals: tuple[Approval, ...]
    """Every decision on the release and on its job, oldest first."""
    records: tuple[AuditRecordSpec, ...]
    """The ledger from its first record."""
    signed: Mapping[str, Json]
    """What the operator signed, by name (see ``layout.SIGNATURES``); empty where the ledger says that it signed nothing."""

    @property
    def own_records(self) -> tuple[AuditRecordSpec, ...]:
        """The records about the release."""
        return tuple(one for one in self.records if one.subject.uid == self.statement.release.uid)

    @property
    def head(self) -> str:
        """The ledger's head, as `<sequence>:<hash>`."""
        return str(chain.head(self.records))
