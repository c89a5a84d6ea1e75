"""When a training has diverged: by what it logs, since no later step repairs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

STILL_LOGS = 3
"""Logs in a row, or all of a shorter training."""
LEARNED_LOSS = 0.01
"""Nats per token: below it, an answer that is known by heart may leave no gradient."""


class Divergence:
    """Judges a training log by log.

    A loss that is no number is the plain case. The norm of the gradients tells two others, which a finite loss hides:

    - It is no number: clipping multiplies every gradient by a bound over this norm (``torch.nn.utils.clip_grad_norm_``), so that
      all weights are no numbers after the step.
    - It is exactly zero, log after log, and the loss is not small. Numbers that overflow within a layer end like this: the
      square in RMSNorm becomes infinite, its inverse root zero, and with it every logit. The loss then stays at the
      logarithm of the size of the vocabulary, and no gradient leads away from there.

    A loss that stays high is no sign by itself: it may be the data's noise, and a model that was never trained begins there.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why it has diverged."""
        self._logs = self._still = 0

    def log(self, entry: Mapping[str, Any]) -> bool:
        """Take what the trainer logged; tell whether the training has diverged."""
        for name in ("loss", "eval_loss", "grad_norm"):
            if name in entry and not math.isfinite(entry[name]):
                self.reason = f"{name} is no number"
        if "loss" in entry and "grad_norm" in entry:
            self._logs += 1
            still = entry["grad_norm"] == 0 and entry["loss"] > LEARNED_LOSS
            self._still = self._still + 1 if still else 0
            if self._still >= STILL_LOGS:
                self._stands_still()
        return self.reason is not None

    def end(self) -> bool:
        """Judge a training that is over, also one of fewer logs; tell whether it has diverged."""
        if self.reason is None and self._logs and self._still == self._logs:
            self._stands_still()
        return self.reason is not None

    def _stands_still(self) -> None:
        self.reason = "the gradients are zero and the loss is not: numbers have overflowed"
