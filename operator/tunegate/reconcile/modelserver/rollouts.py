"""When the pods of a server are replaced: what people decide about them, and what is kept until they decide otherwise. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunegate.api.modelserver import ClientQuota, ContainerImage, RolloutStatus
from tunegate.digests import document_digest
from tunegate.manifests.pods import placement
from tunegate.manifests.rollouts import Rollout
from tunegate.manifests.serving import FETCH_CONTAINER, Serving, pod_template
from tunegate.reconcile.modelserver.observed import Observed, ServingSettings


@dataclass(frozen=True)
class Chosen:
    """The rollout to apply, and what a new one would be made from."""

    rollout: Rollout
    offered: Rollout

    @property
    def up_to_date(self) -> bool:
        """Whether a new rollout would make the same pods."""
        return self.rollout.template == self.offered.template


def choose(seen: Observed, made: Serving, settings: ServingSettings) -> Chosen:
    """Return the rollout in force where it was made for the same inputs, else a new one.

    One without the container that fetches adapters is of the time when they were arguments of the engine: it can take none up.
    """
    offered = Rollout(inputs_digest(seen, made, settings), made.configuration, pod_template(made), made.data)
    kept = seen.rollout
    if kept is None or kept.inputs != offered.inputs or FETCH_CONTAINER not in kept.images:
        return Chosen(offered, offered)
    return Chosen(kept, offered)


def inputs_digest(seen: Observed, made: Serving, settings: ServingSettings) -> str:
    """Return the digest of what people, pool and registry say about the pods.

    Nothing in it may come from the operator's own version: no image, no argument, no document that it writes. A field that is
    added later is left out while nobody sets it (docs/decisions/0012).
    """
    spec, base = made.spec, seen.base_model
    said: dict[str, Any] = {
        "profile": spec.profile.to_dict(),
        "resources": spec.resources.to_dict(),
        # Gateways follow what one client may ask without a new pod.
        "limits": spec.limits.model_copy(update={"per_client": ClientQuota()}).to_dict(),
        "toolParser": spec.tool_parser,
        "restartedAt": spec.restarted_at,
        "placement": placement(made.pool, pinned=True),
        "device": made.pool.device_resource,
        "base": {
            "name": made.document.base.name,
            "source": base.spec.source if base else None,
            "hub": base.spec.hub.to_dict() if base and base.spec.hub else None,
            "mirror": None if isinstance(made.base, str) else settings.hub_endpoint,
            "manifest": made.document.base.manifest_digest,
        },
        "maxCpuLoras": spec.max_cpu_loras,
        "registry": {"host": settings.registry_host, "plainHttp": settings.registry_plain_http or None},
        "pullSecrets": list(made.pull_secrets),
        "apiKeys": made.api_keys_secret,
        "tls": made.tls_secret,
    }
    return document_digest(_without_absent(said))


def _without_absent(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {key: _without_absent(item) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item not in (None, [], {})}


def status_of_rollout(seen: Observed, chosen: Chosen | None) -> dict[str, Any]:
    """Return the fields of the status that say what the pods are made from; without a choice, those of before."""
    if chosen is None:
        return {"rollout": seen.server.status.rollout, "offered": seen.server.status.offered}
    offered = [] if chosen.up_to_date else container_images(chosen.offered)
    kept = RolloutStatus(digest=chosen.rollout.digest, images=container_images(chosen.rollout))
    return {"rollout": kept, "offered": offered}


def container_images(rollout: Rollout) -> list[ContainerImage]:
    """Return the images of a rollout as the status shows them."""
    return [ContainerImage(container=name, image=image) for name, image in sorted(rollout.images.items())]
