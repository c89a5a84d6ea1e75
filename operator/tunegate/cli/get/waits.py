"""What a job waits for, in a word or two for a table; its message says it in full."""

from __future__ import annotations

from tunegate.api.conditions import find
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import JobReason
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL

WORDS: dict[str, str] = {
    JobReason.WAITING_FOR_SERVER: "server",
    JobReason.WAITING_FOR_SUITE: "suite",
    JobReason.WAITING_FOR_POOL: "pool",
    JobReason.WAITING_FOR_BASE_MODEL: "base model",
    JobReason.WAITING_FOR_POLICY: "policy",
    JobReason.WAITING_FOR_VOLUME: "volume",
    JobReason.WAITING_FOR_SECRET: "secret",
    JobReason.WAITING_FOR_REGISTRY: "registry",
    JobReason.WAITING_FOR_DEVICE: "room on nodes",
    JobReason.WAITING_FOR_QUOTA: "quota",
    JobReason.WAITING_FOR_BUDGET: "budget",
    JobReason.WAITING_FOR_IMAGE: "image",
    JobReason.IMAGE_NOT_ALLOWED: "allowed image",
    JobReason.NODE_LOST: "lost node",
    JobReason.NOT_ALLOWED: "right to use",
    JobReason.SUSPENDED: "resuming",
}
LABEL = "label"
"""Claim or secret are there, but their owner has not opened them for jobs."""


def awaited(job: FineTuneJob) -> str:
    """Return what the job waits for; "-" when it waits for nothing, or has ended."""
    condition = None if job.status.ended else find(job.status.conditions, "Complete")
    if condition is None or condition.status != "Unknown":
        return "-"
    if f"{USABLE_BY_JOBS_LABEL}=true" in condition.message:
        return LABEL
    return WORDS.get(condition.reason, "-")
