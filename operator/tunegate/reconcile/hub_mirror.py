"""Base models of a Hub mirror: which mirror is asked, and how a model comes from there into a pod."""

from __future__ import annotations

from tunegate.api.basemodel import BaseModel, HubMirror
from tunegate.api.computepool import memory_bytes
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import CopyModelConfig, JobIdentity, RegistryTarget
from tunegate.api.stage.layout import BASE_MODEL_MOUNT
from tunegate.manifests.downloads import Download, model_download
from tunegate.manifests.sources import HUB_SCHEME, HubPath


def without_mirror(model: BaseModel, default: str | None) -> str | None:
    """Return what to do where nobody says which mirror holds the model, else None. There is no public default."""
    if not model.spec.source.startswith(HUB_SCHEME) or _mirror(model).endpoint or default:
        return None
    return (
        f"BaseModel {model.name} comes from a Hub mirror, but nobody says where one is: the platform team sets "
        "hubMirror.endpoint in the chart's values, or makes the BaseModel again with spec.hub.endpoint"
    )


def copied_model(
    model: BaseModel,
    source: HubPath,
    default: str | None,
    job: JobIdentity,
    registry: RegistryTarget,
    manifest: Manifest | None,
) -> Download:
    """Return the download of ``model`` for the pod of ``job``. Raises ``AssertionError`` where there is no mirror."""
    mirror = _mirror(model)
    endpoint = mirror.endpoint or default
    if endpoint is None:
        raise AssertionError("without_mirror is asked before")
    config = CopyModelConfig(
        job=job,
        registry=registry,
        endpoint=endpoint,
        repository=source.repository,
        revision=source.commit,
        path=source.below(BASE_MODEL_MOUNT),
        max_bytes=memory_bytes(mirror.size),
        secret_name=mirror.secret_name,
        manifest=manifest,
    )
    return model_download(config.to_dict(), mirror.secret_name, mirror.size)


def _mirror(model: BaseModel) -> HubMirror:
    return model.spec.hub or HubMirror()
