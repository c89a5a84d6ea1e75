"""All metrics of the operator, in one place. No label has values that grow with the number of objects."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from tunegate import __version__
from tunegate.runtime.phase_counts import CountsByPhase

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()

RECONCILES = Counter(
    "tunegate_reconcile_total",
    "Finished reconciles by controller and result: done, waiting, transient, terminal, defect; interrupted: cut off by a stop.",
    ["controller", "result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "tunegate_reconcile_duration_seconds",
    "How long a reconcile took, from observation to the last write.",
    ["controller"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("tunegate_queue_depth", "Keys that wait, now or for their time.", ["controller"], registry=REGISTRY)
QUEUE_RETRIES = Counter(
    "tunegate_queue_retries_total", "Keys put back after a failure.", ["controller"], registry=REGISTRY
)
WRITES = Counter(
    "tunegate_writes_total",
    "Requests that change the cluster, by kind of write: audit, delete, create, apply, status, event.",
    ["controller", "write"],
    registry=REGISTRY,
)
SIDE_LOOP_FAILURES = Counter(
    "tunegate_side_loop_failures_total",
    "Unexpected ends of a loop beside the reconciles, by its name; it begins again by itself.",
    ["loop"],
    registry=REGISTRY,
)
LEADER = Gauge("tunegate_leader", "1 while this process holds the Lease.", registry=REGISTRY)
RESOURCES = CountsByPhase("tunegate_resources", "Objects by kind and phase, counted at each resync.", REGISTRY)
RULES_IN_FORCE = Gauge(
    "tunegate_admission_rules_in_force",
    "1 while the chart's admission rules are in force; 0: nothing new is approved or rolled out.",
    registry=REGISTRY,
)
POWER_HOLDERS = Gauge(
    "tunegate_power_holders",
    "Users, groups and service accounts that hold a power to get around the rules, by power; none while RBAC cannot be read.",
    ["power"],
    registry=REGISTRY,
)
POWERS_CHANGED = Counter(
    "tunegate_powers_changed_total", "Recorded changes of who holds such a power.", registry=REGISTRY
)
CHECKPOINTS_WORK = Gauge(
    "tunegate_ledger_works",
    "0 while a part of the ledger's signing fails: ledger (broken, or behind its anchors: nothing new is approved), each "
    "anchor by name, time stamps.",
    ["part"],
    registry=REGISTRY,
)
REGISTRY_BYTES = Gauge(
    "tunegate_registry_bytes",
    "Bytes on the volume of the chart's registry: total, free, unreferenced (garbage and uploads); none while it cannot be read.",
    ["state"],
    registry=REGISTRY,
)
REGISTRY_NAMESPACE_BYTES = Gauge(
    "tunegate_registry_namespace_bytes",
    "Bytes in the chart's registry, by namespace.",
    ["namespace"],
    registry=REGISTRY,
)
BUILD = Gauge("tunegate_build_info", "Always 1; the label says which version runs.", ["version"], registry=REGISTRY)

BUILD.labels(__version__).set(1)
ProcessCollector(registry=REGISTRY)
