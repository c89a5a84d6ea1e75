"""Closed lists of reasons: conditions, stage ends and Events use these words and no others."""

from __future__ import annotations

from enum import StrEnum


class StageReason(StrEnum):
    """How an attempt of a stage ended."""

    COMPLETED = "Completed"
    REFUSED = "Refused"
    BAD_INPUT = "BadInput"
    OUT_OF_MEMORY = "OutOfMemory"
    UNAVAILABLE = "Unavailable"
    PREEMPTED = "Preempted"
    DISRUPTED = "Disrupted"
    NO_RESULT = "NoResult"
    CONFIGURATION_DIFFERS = "ConfigurationDiffers"
    INPUT_CHANGED = "InputChanged"
    RESULT_DIFFERS = "ResultDiffers"
    UNKNOWN = "Unknown"


class JobReason(StrEnum):
    """Reasons of the conditions of a FineTuneJob (`Complete`, `Failed`, `LineageRecorded`, `Scheduled`, `Waived`)."""

    WAITING_FOR_SERVER = "WaitingForServer"
    WAITING_FOR_SUITE = "WaitingForSuite"
    WAITING_FOR_POOL = "WaitingForPool"
    WAITING_FOR_BASE_MODEL = "WaitingForBaseModel"
    WAITING_FOR_POLICY = "WaitingForPolicy"
    WAITING_FOR_VOLUME = "WaitingForVolume"
    WAITING_FOR_SECRET = "WaitingForSecret"
    WAITING_FOR_DEVICE = "WaitingForDevice"
    WAITING_FOR_BUDGET = "WaitingForBudget"
    WAITING_FOR_IMAGE = "WaitingForImage"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    STAGE_RUNNING = "StageRunning"
    SUSPENDED = "Suspended"
    FINISHED = "Finished"
    GATE_PASSED = "GatePassed"
    GATE_FAILED = "GateFailed"
    GATE_INCONCLUSIVE = "GateInconclusive"
    PROMPTING_SUFFICES = "PromptingSuffices"
    NOT_ALLOWED = "NotAllowed"
    SUITE_NOT_ACCEPTED = "SuiteNotAccepted"
    RULES_NOT_IN_FORCE = "RulesNotInForce"
    REQUESTER_UNVERIFIED = "RequesterUnverified"
    BUDGET_EXCEEDED = "BudgetExceeded"
    VALIDATION_REFUSED = "ValidationRefused"
    WAITING_FOR_WAIVER = "WaitingForWaiver"
    WAIVER_GRANTED = "WaiverGranted"
    WAIVER_REJECTED = "WaiverRejected"
    TRAINING_DIVERGED = "TrainingDiverged"
    SEAL_REFUSED = "SealRefused"
    BAD_INPUT = "BadInput"
    OUT_OF_MEMORY = "OutOfMemory"
    ERROR_BUDGET_SPENT = "ErrorBudgetSpent"
    DISRUPTION_BUDGET_SPENT = "DisruptionBudgetSpent"
    RECORDED = "Recorded"
    NAME_TAKEN = "NameTaken"
    TRACKING_UNAVAILABLE = "TrackingUnavailable"


class CatalogueReason(StrEnum):
    """Reasons of the condition `Ready` of BaseModel, ComputePool, ApprovalPolicy and EvaluationSuite."""

    WAITING_FOR_VOLUME = "WaitingForVolume"
    WAITING_FOR_MIRROR = "WaitingForMirror"
    WAITING_FOR_RESULT = "WaitingForResult"
    HASHING = "Hashing"
    HASHED = "Hashed"
    HASH_REFUSED = "HashRefused"
    DIGEST_MISMATCH = "DigestMismatch"
    BAD_INPUT = "BadInput"
    ERROR_BUDGET_SPENT = "ErrorBudgetSpent"
    NODES_FOUND = "NodesFound"
    NO_NODES = "NoNodes"
    DIGEST_RECORDED = "DigestRecorded"


class ReleaseReason(StrEnum):
    """Reasons of the conditions of a ModelRelease (`Ready`, `EvidenceComplete`, `Approved`, `Superseded`, …)."""

    WAITING_FOR_JOB = "WaitingForJob"
    WAITING_FOR_CATALOGUE = "WaitingForCatalogue"
    WAITING_FOR_REGISTRY = "WaitingForRegistry"
    JOB_NOT_PASSED = "JobNotPassed"
    REQUESTER_UNVERIFIED = "RequesterUnverified"
    SUITE_NOT_ACCEPTED = "SuiteNotAccepted"
    DATA_NOT_ALLOWED = "DataNotAllowed"
    NOT_ALLOWED = "NotAllowed"
    EVIDENCE_DIFFERS = "EvidenceDiffers"
    EVIDENCE_SEALED = "EvidenceSealed"
    WAITING_FOR_APPROVALS = "WaitingForApprovals"
    QUORUM_REACHED = "QuorumReached"
    OVERRIDE_IN_FORCE = "OverrideInForce"
    OVERRIDE_REVIEWED = "OverrideReviewed"
    OVERRIDE_EXPIRED = "OverrideExpired"
    OVERRIDE_WITHDRAWN = "OverrideWithdrawn"
    OVERRIDE_STOPPED = "OverrideStopped"
    REJECTED = "Rejected"
    REVOKED = "Revoked"
    WAITING_FOR_LEDGER = "WaitingForLedger"
    ROLLING_OUT = "RollingOut"
    ROUTE_OPEN = "RouteOpen"
    LEFT_OUT = "LeftOut"
    APPROVAL_EXPIRED = "ApprovalExpired"
    APPROVER_NOT_AUTHORIZED = "ApproverNotAuthorized"
    APPROVALS_LOST = "ApprovalsLost"
    APPROVALS_IN_FORCE = "ApprovalsInForce"
    NEWER_RELEASE = "NewerRelease"
    DIGEST_MISMATCH = "DigestMismatch"
    RECORD_MISSING = "RecordMissing"
    RULES_NOT_IN_FORCE = "RulesNotInForce"
    INTACT = "Intact"
    NO_ROUTE = "NoRoute"


class ServerReason(StrEnum):
    """Reasons of the conditions of a ModelServer (`Ready`, `AdaptersVerified`, `RevocationConfirmed`)."""

    WAITING_FOR_BASE_MODEL = "WaitingForBaseModel"
    WAITING_FOR_POOL = "WaitingForPool"
    WAITING_FOR_REGISTRY = "WaitingForRegistry"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    WAITING_FOR_CERTIFICATE = "WaitingForCertificate"
    STARTING = "Starting"
    SERVING = "Serving"
    ADAPTER_LEFT_OUT = "AdapterLeftOut"
    SCALED_TO_ZERO = "ScaledToZero"
    POD_FAILING = "PodFailing"
    REVOCATION_NOT_CONFIRMED = "RevocationNotConfirmed"
    REVOCATION_CONFIRMED = "RevocationConfirmed"
    SERVING_POD_DELETED = "ServingPodDeleted"


class OwnershipReason(StrEnum):
    """Reasons of the condition `ObjectsInPlace` of every kind: why an object of Tunegate's is not what it should be."""

    FOREIGN_OBJECT = "ForeignObject"
    BEING_DELETED = "BeingDeleted"
    WRITE_REFUSED = "WriteRefused"
