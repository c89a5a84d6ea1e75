"""A training that cannot learn any more ends as diverged, also when its loss is a number; one that learns never does."""

from __future__ import annotations

import math

import pytest

from tunegate_trainer.training.divergence import STILL_LOGS, Divergence

UNIFORM = math.log(49_152)
"""The loss of a model whose logits are all equal."""


def judged(*logs: tuple[float, float]) -> tuple[bool, str | None]:
    divergence = Divergence()
    stopped = any(divergence.log({"loss": loss, "grad_norm": norm}) for loss, norm in logs)
    return stopped or divergence.end(), divergence.reason


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "eval_loss", "grad_norm"])
def test_what_is_no_number_is_divergence_at_once(name: str, loss: float) -> None:
    divergence = Divergence()
    assert divergence.log({name: loss})
    assert divergence.reason == f"{name} is no number"


def test_a_loss_that_stays_at_that_of_equal_logits_without_a_gradient_is_divergence() -> None:
    diverged, reason = judged((2.1, 1.5), (6.0, 80.0), *[(UNIFORM, 0.0)] * STILL_LOGS)
    assert diverged
    assert "overflowed" in str(reason)


def test_it_is_found_in_a_training_of_fewer_logs_too() -> None:
    assert judged((UNIFORM, 0.0))[0]


@pytest.mark.parametrize(
    "logs",
    [
        [(UNIFORM, 0.7)] * 50,
        [(2.1, 1.5), (1.2, 0.9), (1.9, 1.1), (2.2, 1.3)],
        [(0.5, 0.2), *[(0.0001, 0.0)] * 20],
        [(2.0, 0.0), (2.0, 0.0), (1.5, 0.3), (1.4, 0.0), (1.3, 0.2)],
        [],
    ],
    ids=["never trained before", "noise", "known by heart", "a batch now and then", "nothing logged"],
)
def test_a_training_that_learns_or_has_learned_is_none(logs: list[tuple[float, float]]) -> None:
    assert judged(*logs) == (False, None)


def test_a_log_of_the_development_rows_or_of_the_end_says_nothing_about_gradients() -> None:
    divergence = Divergence()
    assert not any([divergence.log({"eval_loss": UNIFORM}), divergence.log({"train_loss": 2.0}), divergence.end()])
