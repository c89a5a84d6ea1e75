"""What a job may not exceed: the pool, the budget, the engine profile and the least number of examples."""

from __future__ import annotations

from collections.abc import Mapping

from tunegate.api.computepool import ComputePoolSpec, memory_bytes
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Budget, Intent, Method, TaskType
from tunegate.api.modelserver import EngineProfile
from tunegate.api.normalization import normalize_label
from tunegate.api.numbers import plain
from tunegate.api.stage.findings import Finding
from tunegate_trainer.checks.words import text_hash
from tunegate_trainer.findings import block, warn

LEAST = 100
"""Fewer examples than this are refused whatever the task."""
MINIMUM: dict[TaskType, int] = {
    "Style": 100, "Format": 200, "DomainVocabulary": 500, "Classification": 100, "ComplexInstructions": 1000,
}  # fmt: skip
PER_CLASS = 50
RECOMMENDED_FACTOR = 5
"""Examples beyond the minimum that usually pay: fewer are a warning."""


def check_intent(intent: Intent) -> list[Finding]:
    """Refuse tuning for what it does not do."""
    if intent.problem != "Knowledge":
        return []
    message = (
        "intent.problem Knowledge: tuning teaches form, not facts. Build retrieval over the documents instead, or state "
        "the behavior that must change (problem: Behavior). Documents named in baseline.documents are searched before "
        "anything is trained: the arm BaseRetrieval says what retrieval reaches"
    )
    return [block("Knowledge", message)]


def check_examples(
    task: TaskType, rows: int, label_counts: Mapping[int, int], suite: EvaluationSuiteSpec
) -> list[Finding]:
    """Compare the number of distinct usable rows with the least that can work for the task, by class for classification.

    ``label_counts``: hash of an answer, normalized as the evaluation compares labels, to its number.
    """
    least = max(LEAST, MINIMUM[task])
    findings = []
    if rows < least:
        message = (
            f"there are {rows} usable examples, task type {task} needs at least {least}: add {least - rows} or more"
        )
        findings.append(block("MinimumExamples", message, count=rows))
    elif rows < RECOMMENDED_FACTOR * least:
        message = (
            f"there are {rows} usable examples, enough to try; {RECOMMENDED_FACTOR * least} are recommended for {task}"
        )
        findings.append(warn("RecommendedExamples", message, count=rows))
    if task == "Classification":
        labels = [text_hash(normalize_label(label)) for label in suite.task.labels] or list(label_counts)
        poor = [label for label in labels if label_counts.get(label, 0) < PER_CLASS]
        if poor:
            message = f"{len(poor)} of {len(labels)} classes have fewer than {PER_CLASS} examples: add examples of them"
            findings.append(block("MinimumPerClass", message, count=len(poor)))
    return findings


def check_split(training: int, development: int) -> list[Finding]:
    """Refuse a development split that leaves training nothing."""
    if training:
        return []
    message = (
        f"no rows are left for training, {development} are kept aside: lower method.developmentFraction or add groups"
    )
    return [block("TrainingRows", message, count=development)]


def check_profile(method: Method, profile: EngineProfile, context_length: int) -> list[Finding]:
    """Refuse an adapter that the server could not load, and rows longer than it will ever see."""
    findings = []
    if method.rank > profile.max_lora_rank:
        message = f"method.rank {method.rank} is above the server profile's maxLoraRank {profile.max_lora_rank}"
        findings.append(block("Profile", message))
    for name, limit in (("server profile's maxModelLen", profile.max_model_len), ("model's context", context_length)):
        if method.max_length > limit:
            findings.append(block("Profile", f"method.maxLength {method.max_length} is above the {name} {limit}"))
    return findings


def check_pool(method: Method, pool: ComputePoolSpec, least: int, peak: int) -> list[Finding]:
    """Refuse what can't fit the pool and warn of what may not; ``least`` and ``peak``: the ends of one process's peak, bytes."""
    findings = []
    available = memory_bytes(pool.device_memory)
    if peak > available:
        message = (
            f"needs {least / 1e9:.1f} to {peak / 1e9:.1f} GB for each process, a device of the pool has "
            f"{available / 1e9:.1f} GB: lower method.batchSize or method.maxLength, use QLoRA, or choose another pool"
        )
        findings.append(block("Memory", message) if least > available else warn("Memory", message))
    if method.num_nodes > pool.max_nodes:
        findings.append(block("Nodes", f"method.numNodes {method.num_nodes} is above the pool's {pool.max_nodes}"))
    if pool.device_resource and method.num_proc_per_node > pool.devices_per_node:
        message = (
            f"method.numProcPerNode {method.num_proc_per_node} is above the pool's {pool.devices_per_node} devices"
        )
        findings.append(block("Devices", message))
    return findings


def check_budget(budget: Budget, hours: float, cost: float, currency: str) -> list[Finding]:
    """Refuse an estimate above the budget."""
    findings = []
    if budget.max_device_hours is not None and hours > float(budget.max_device_hours):
        message = f"estimated {plain(hours)} device hours, the budget allows {budget.max_device_hours}"
        findings.append(block("Budget", message))
    if budget.max_cost is not None and cost > float(budget.max_cost):
        message = f"estimated cost {plain(cost)} {currency}, the budget allows {budget.max_cost}"
        findings.append(block("Budget", message))
    return findings
