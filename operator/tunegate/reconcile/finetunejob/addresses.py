"""What people named as the inputs of a job, by address."""

from __future__ import annotations

from tunegate.manifests.sources import HUB_SCHEME, ClaimPath, HubPath, RegistryPath, StorePath, data_path, model_path
from tunegate.reconcile.finetunejob.observed import Observed


def sources(seen: Observed) -> list[tuple[str, str]]:
    """Return address and field of everything that people of the namespace name."""
    spec = seen.job.spec
    sources = [(spec.dataset.uri, "spec.dataset.uri")]
    if seen.suite is not None:
        sources.append((seen.suite.spec.data.uri, f"EvaluationSuite {seen.suite.name} spec.data.uri"))
    if spec.adapter is not None:
        sources.append((spec.adapter.uri, "spec.adapter.uri"))
    if spec.baseline.documents is not None:
        sources.append((spec.baseline.documents.uri, "spec.baseline.documents.uri"))
    return sources


def base_source(seen: Observed) -> list[tuple[str, str]]:
    """Return address and owner of the base model's files, which the platform names."""
    return [] if seen.base_model is None else [(seen.base_model.spec.source, f"BaseModel {seen.base_model.name}")]


def read_address(uri: str) -> ClaimPath | StorePath | RegistryPath | HubPath:
    """Return where the address points. Raises ``ValueError`` with what is wrong with it."""
    return model_path(uri) if uri.startswith(HUB_SCHEME) else data_path(uri)
