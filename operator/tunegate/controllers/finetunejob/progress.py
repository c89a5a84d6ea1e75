"""Asks a running stage how far it is. Best effort: a stage that does not answer is simply not asked again for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import httpx
from pydantic import ValidationError

from tunegate.api.stage.ends import ProgressReport
from tunegate.api.stage.layout import PROGRESS_PORT
from tunegate.manifests.stage_job import STAGE_CONTAINER
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.attempt.pod_end import container_state

logger = logging.getLogger(__name__)

PAUSE = 4.5
"""Seconds between two questions to one pod; a little less than the planner's own rhythm."""
TIMEOUT = 2.0
LARGEST = 64 * 1024
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
        host = f"[{address}]" if ":" in address else address
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
                answer = await http.get(f"http://{host}:{self._port}/progress")
            if answer.status_code != 200 or len(answer.content) > LARGEST:
                return None
            return ProgressReport.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            logger.debug("no progress from %s: %s", pod["metadata"].get("name"), type(error).__name__)
            return None
