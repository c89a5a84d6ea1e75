"""The loss over answers alone: what is no answer never goes through the output layer.

A prompt's positions have no label and add nothing to the loss, yet on a CPU TRL 1.16 multiplies each of them with the output
layer: the largest matrix of a small model, and a third of a training step. TRL leaves them out only where Triton is, since other
devices would compile again for each number of positions. PyTorch on a CPU compiles nothing here, so it can leave them out as well.
Loss, weighting by tokens, gradient accumulation and several processes stay TRL's own; the terms of the sum are the same.
"""

from __future__ import annotations

from typing import Any


def score_answers_only() -> None:
    """Let TRL's trainers of this process project labelled positions only. Call it before one is made.

    TRL decides by ``_use_triton`` in ``trl.trainer.utils``. The kernels' own choice is made by the function of the same name in
    ``trl.kernels`` and stays. Raises ``RuntimeError`` for a TRL that decides otherwise.
    """
    from trl.trainer import utils

    module: Any = utils
    if not callable(getattr(module, "_use_triton", None)):
        raise RuntimeError("this TRL decides elsewhere which positions are scored: adapt training.answer_positions")
    module._use_triton = _always


def _always(device: object) -> bool:
    return True
