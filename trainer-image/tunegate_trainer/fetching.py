"""Fetch stage: put the sealed adapter into the pod's shared folder, verified, before the engine starts."""

from __future__ import annotations

import logging
from pathlib import Path

from tunegate import digests
from tunegate.api.stage.configs import FetchConfig
from tunegate.logs import event
from tunegate.registry.adapters import pull_adapter
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput

log = logging.getLogger(__name__)


def run(config: FetchConfig, context: StageContext) -> None:
    """Pull by digest into ``config.adapter.path``. Raises ``BadInput`` or a registry failure; then nothing lies there."""
    adapter = config.adapter
    if digests.manifest_digest(adapter.manifest) != adapter.manifest_digest:
        raise BadInput(f"adapter: the manifest does not have the digest {adapter.manifest_digest}")
    pull_adapter(context.registry, adapter.repository, adapter.digest, adapter.manifest, Path(adapter.path))
    log.info(
        "adapter verified", extra=event("AdapterVerified", digest=adapter.digest, files=len(adapter.manifest.files))
    )
