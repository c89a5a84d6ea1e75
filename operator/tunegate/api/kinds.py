"""All kinds of the API group, in one list."""

from __future__ import annotations

from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecord
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.usage import Usage

KINDS: tuple[type[Resource], ...] = (
    BaseModel, ComputePool, ApprovalPolicy, ModelServer, EvaluationSuite, FineTuneJob, ModelRelease, Approval,
    AuditRecord, Usage,
)  # fmt: skip
