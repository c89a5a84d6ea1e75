"""Whether a live object is ours and says what we want it to say, whole. Pure.

Server-side apply compares nothing: it leaves beside our fields whatever others put there, such as `externalIPs` of a
Service or a second subject of a RoleBinding. So every section of an object (all of it but metadata and status) is compared
as a whole with what was planned, completed by the API server's own defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.api.markers import GROUP, MANAGED_BY_LABEL
from tunegate.kube.fields import same

Json = Mapping[str, Any]
PLAIN = frozenset({"ConfigMap", "Secret", "Role", "RoleBinding"})
"""Kinds to which the API server adds nothing."""
NOT_COMPARED = frozenset({"apiVersion", "kind", "metadata", "status"})
ASSIGNED: Mapping[str, tuple[str, ...]] = {
    "Service": ("clusterIP", "clusterIPs"),
    "PersistentVolumeClaim": ("volumeName", "storageClassName"),
    # Kueue owns `suspend`.
    "Job": ("selector", "suspend"),
}
"""Fields of `spec` that Kubernetes fills in for each object; compared only where the plan says them."""
JOB_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
"""What the Job controller adds to the labels of the pods' template."""
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
"""On a claim whose volume Kubernetes chose. Whoever made a claim for a volume of their choice has it not."""


def controller_uid(obj: Json) -> str:
    """Return the UID of the object's controlling owner, empty when it has none."""
    owners = obj["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def is_ours(live: Json, wanted: Json) -> bool:
    """Tell whether the live object claims to be what was planned: by its owner, or by its labels where none is planned."""
    owner = controller_uid(wanted)
    if owner:
        return controller_uid(live) == owner
    labels = live["metadata"].get("labels") or {}
    planned = wanted["metadata"].get("labels") or {}
    return not live["metadata"].get("ownerReferences") and all(labels.get(key) == planned[key] for key in planned)


def sections(obj: Json) -> dict[str, Any]:
    """Return what an object says, without what says who it is and how it stands."""
    return {key: value for key, value in obj.items() if key not in NOT_COMPARED}


def differences(live: Json, wanted: Json, completed: Json | None) -> list[str]:
    """Return the parts in which the live object is not as planned.

    ``completed``: the planned sections with the API server's defaults. None: they are not known, and then fields that only
    the live object has count as defaults.
    """
    return [*_metadata(live, wanted), *_sections(live, wanted, completed)]


def _metadata(live: Json, wanted: Json) -> Iterator[str]:
    has, wants = live["metadata"], wanted["metadata"]
    labels, planned = has.get("labels") or {}, wants.get("labels") or {}
    for key in sorted({*labels, *planned}):
        if labels.get(key) != planned.get(key) and (key in planned or is_reserved_label(key)):
            yield f"metadata.labels[{key}]"
    annotations = has.get("annotations") or {}
    for key, value in sorted((wants.get("annotations") or {}).items()):
        if annotations.get(key) != value:
            yield f"metadata.annotations[{key}]"
    if not same({"": has.get("ownerReferences") or []}, {"": wants.get("ownerReferences") or []}):
        yield "metadata.ownerReferences"


def is_reserved_label(key: str) -> bool:
    """Tell whether a label says whose an object is."""
    return key == MANAGED_BY_LABEL or (key.startswith(f"{GROUP}/") and not key.startswith(f"{GROUP}/usable-by-"))


def _sections(live: Json, wanted: Json, completed: Json | None) -> Iterator[str]:
    kind = str(wanted["kind"])
    has = _comparable(kind, sections(live), wanted)
    if completed is None:
        wants = _comparable(kind, sections(wanted), wanted)
        yield from (key for key, value in sorted(wants.items()) if not _within(value, has.get(key)))
    else:
        wants = _comparable(kind, completed, wanted)
        yield from (key for key in sorted({*has, *wants}) if not same({"": has.get(key)}, {"": wants.get(key)}))
    chosen = kind == "PersistentVolumeClaim" and (live.get("spec") or {}).get("volumeName")
    if chosen and (live["metadata"].get("annotations") or {}).get(BOUND_BY_CONTROLLER) != "yes":
        yield "spec.volumeName"


def _comparable(kind: str, found: Json, wanted: Json) -> dict[str, Any]:
    """Return the sections without what Kubernetes assigns to each object, and without what says nothing."""
    kept = {key: value for key, value in found.items() if value not in (None, False, {}, [])}
    spec = kept.get("spec")
    if isinstance(spec, Mapping):
        planned = wanted.get("spec") or {}
        dropped = {name for name in ASSIGNED.get(kind, ()) if name not in planned}
        kept["spec"] = {key: value for key, value in spec.items() if key not in dropped}
    if kind == "Job" and isinstance(spec, Mapping):
        kept["spec"]["template"] = _without_job_labels(spec.get("template") or {})
    return kept


def _without_job_labels(template: Json) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in JOB_LABELS}
    # The Job controller's own null survives some encodings, and says nothing.
    metadata = {key: value for key, value in metadata.items() if key != "creationTimestamp"}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _within(wanted: Any, live: Any) -> bool:
    """Tell whether ``live`` has all that ``wanted`` says."""
    if isinstance(wanted, Mapping):
        return all(_within(value, (live or {}).get(key)) for key, value in wanted.items() if value not in ({}, []))
    if isinstance(wanted, list | tuple):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(_within, wanted, live))
    return bool(wanted == live)


def other_writers(live: Json, own: str) -> list[str]:
    """Return the field managers, other than ours, that own part of what the object says. A name that they chose themselves."""
    parts = {f"f:{key}" for key in sections(live)}
    entries = live["metadata"].get("managedFields") or []
    names = {
        str(entry.get("manager") or "unknown")
        for entry in entries
        if not entry.get("subresource") and parts & set(entry.get("fieldsV1") or {})
    }
    return sorted(names - {own})


def taking_back(live: Json, wanted: Json, completed: Json) -> list[dict[str, Any]]:
    """Return the JSON patch that makes every section of ``live`` what was planned. It fails where ``live`` is outdated."""
    kind, labels = str(wanted["kind"]), wanted["metadata"].get("labels") or {}
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}
    ]
    for key in sorted({*sections(live), *completed}):
        if same({"": sections(live).get(key)}, {"": completed.get(key)}):
            continue
        value = completed.get(key)
        if value is None:
            operations.append({"op": "remove", "path": f"/{key}"})
            continue
        if key == "spec":
            kept = {name: live["spec"][name] for name in ASSIGNED.get(kind, ()) if name in (live.get("spec") or {})}
            value = {**value, **{name: item for name, item in kept.items() if name not in (wanted.get("spec") or {})}}
        operations.append({"op": "add", "path": f"/{key}", "value": value})
    for key in live["metadata"].get("labels") or {}:
        if is_reserved_label(key) and key not in labels:
            path = key.replace("~", "~0").replace("/", "~1")
            operations.append({"op": "remove", "path": f"/metadata/labels/{path}"})
    owners = wanted["metadata"].get("ownerReferences") or []
    if not same({"": live["metadata"].get("ownerReferences") or []}, {"": owners}):
        operations.append({"op": "add", "path": "/metadata/ownerReferences", "value": list(owners)})
    return operations
