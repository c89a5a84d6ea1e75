"""Train stage: a wrapper that launches and watches the training processes, and what runs inside them."""

import logging

from tunegate_trainer.training.launch import run

__all__ = ["run"]

UNUSED = ("bitsandbytes.backends.cpu.ops", "torch.utils.flop_counter")
"""Libraries that warn, in every training's log, that faster kernels of a hub or Triton are missing: no training of ours uses them."""
for _name in UNUSED:
    logging.getLogger(_name).setLevel(logging.ERROR)
