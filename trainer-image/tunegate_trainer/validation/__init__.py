"""Validate stage: everything that can be known about data and cost on a CPU, before a device is queued for."""

from tunegate_trainer.validation.stage import examine, run

__all__ = ["examine", "run"]
