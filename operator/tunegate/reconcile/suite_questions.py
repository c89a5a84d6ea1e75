"""Where the questions of a suite lie, whether pods can read them there, and whether anybody can be judged by the suite at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.reasons import CatalogueReason
from tunegate.manifests.sources import ClaimPath, RegistryPath, StorePath, data_path
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL

Json = Mapping[str, Any]
ANYWHERE = frozenset({"ReadOnlyMany", "ReadWriteMany"})
"""Access modes under which a claim can be mounted wherever the pod's other claims draw it."""


def asked_before(suite: EvaluationSuite) -> bool:
    """Whether a job was ever judged by its questions, by the ledger: then they were the frozen ones."""
    return suite.status.tries.total > 0


def matters(suite: EvaluationSuite) -> bool:
    """Whether a job can be judged by it, or was. What its own status calls ``BadInput`` can judge no model: its text rules that out."""
    refused = any(one.type == "Ready" and one.reason == CatalogueReason.BAD_INPUT for one in suite.status.conditions)
    return asked_before(suite) or not refused


def closed(name: str, claim: Json | None, *, own: bool) -> str | None:
    """Return why a claim is not mounted for a further suite. ``own``: the job's inputs need it, so that the pod has it."""
    what = f"PersistentVolumeClaim {name}"
    if claim is None:
        return f"{what} does not exist"
    metadata, status = claim["metadata"], claim.get("status") or {}
    if (metadata.get("labels") or {}).get(USABLE_BY_JOBS_LABEL) != "true":
        return f"{what} is not opened for jobs by the label {USABLE_BY_JOBS_LABEL}=true"
    if own:
        return None
    if metadata.get("deletionTimestamp"):
        return f"{what} is being deleted"
    if status.get("phase") != "Bound":
        return f"{what} is not bound to a volume"
    if (claim.get("spec") or {}).get("volumeMode") == "Block":
        return f"{what} has no file system"
    if not ANYWHERE & set(status.get("accessModes") or ()):
        return f"{what} is for one node only: it needs the access mode {' or '.join(sorted(ANYWHERE))}"
    return None


def questions_place(suite: EvaluationSuite) -> ClaimPath | RegistryPath | str:
    """Return where a suite's questions lie, or what is wrong with the address."""
    try:
        path = data_path(suite.spec.data.uri)
    except ValueError as error:
        return str(error)
    if isinstance(path, StorePath):
        return f"{suite.spec.data.uri}: questions are pushed, or lie on a claim"
    namespace = suite.namespace
    if isinstance(path, RegistryPath) and path.place.namespace != namespace:
        return f"{suite.spec.data.uri} was pushed into another namespace: only what was pushed into {namespace} is read"
    return path
