"""Train stage: a wrapper that launches and watches the training processes, and what runs inside them."""

from tunegate_trainer.training.launch import run

__all__ = ["run"]
