"""Asks a running stage how far it is. Best effort: a stage that does not answer is simply not asked again for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pydantic import ValidationError

from tunegate.api.stage.ends import ProgressReport
from tunegate.api.stage.layout import PROGRESS_PORT
from tunegate.controllers.pod_answers import ask_pod
from tunegate.deadlines import PROGRESS_SECONDS
from tunegate.manifests.stage_job import STAGE_CONTAINER
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.attempt.pod_end import container_state

logger = logging.getLogger(__name__)

PAUSE = 4.5
"""Seconds between two questions to one pod; a little less than the planner's own rhythm."""
LARGEST_BYTES = 64 * 1024
KEPT = 1024


class ProgressPoller:
    """Remembers when it asked whom, so that a burst of events does not become a burst of questions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, port: int = PROGRESS_PORT) -> None:
        self._clock = clock
        self._port = port
        self._asked: dict[str, float] = {}

    async def ask(self, pod: Json) -> ProgressReport | None:
        """Return what the stage in ``pod`` says, or None when it is not due, not running or not answering."""
        address = (pod.get("status") or {}).get("podIP")
        if not address or not container_state(pod, STAGE_CONTAINER).get("running"):
            return None
        uid, now = str(pod["metadata"].get("uid", "")), self._clock()
        if now - self._asked.get(uid, -PAUSE) < PAUSE:
            return None
        if len(self._asked) >= KEPT:
            self._asked = {key: asked for key, asked in self._asked.items() if now - asked < PAUSE}
        self._asked[uid] = now
        content = await ask_pod(str(address), self._port, "/progress", seconds=PROGRESS_SECONDS, largest=LARGEST_BYTES)
        try:
            return ProgressReport.model_validate_json(content) if content is not None else None
        except ValidationError:
            logger.debug("no progress from %s: its answer cannot be read", pod["metadata"].get("name"))
            return None
