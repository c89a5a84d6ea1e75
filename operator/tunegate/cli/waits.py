"""What a job waits for: in a word or two for a table, and for its page since when and whose turn it is. Pure."""

from __future__ import annotations

from datetime import datetime

from tunegate.api.conditions import find
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import JobReason
from tunegate.cli.ages import age
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
PLATFORM_TEAM = "the platform team's turn"
TURNS: dict[str, str] = {
    "server": "the serving operators' turn",
    "suite": "the turn of whoever makes suites",
    "volume": "the turn of whoever brings the data",
    "secret": "the turn of whoever keeps the store's key",
    LABEL: "the turn of whoever owns it",
    "room on nodes": "it starts by itself when others end",
    "budget": "it goes on by itself when enough is left, at the latest with the next period",
    "resuming": "the turn of whoever asked for it: tunegate resume",
}
"""By word; of others it is the platform team's turn."""


def awaited(job: FineTuneJob) -> str:
    """Return what the job waits for; "-" when it waits for nothing, or has ended."""
    condition = None if job.status.ended else find(job.status.conditions, "Complete")
    if condition is None or condition.status != "Unknown":
        return "-"
    if f"{USABLE_BY_JOBS_LABEL}=true" in condition.message:
        return LABEL
    return WORDS.get(condition.reason, "-")


def told(job: FineTuneJob, now: datetime) -> str | None:
    """Return what the job waits for, since when, as far as that is known, and whose turn it is; None if it waits for nothing."""
    word = awaited(job)
    if word == "-":
        return None
    since = _since(job)
    when = f" since {since} ({age(since, now)})" if since else ""
    return f"{word}{when}; {TURNS.get(word, PLATFORM_TEAM)}"


def _since(job: FineTuneJob) -> str:
    """Return when the waiting began: of pods without a node, or of a job that has begun nothing yet."""
    scheduled = find(job.status.conditions, "Scheduled")
    if scheduled is not None and scheduled.status == "False":
        return scheduled.last_transition_time
    return str(job.metadata.get("creationTimestamp", "")) if job.status.phase == "Pending" else ""
