"""How long the gate's mathematics take, and how often a true gain passes.

Run: ``PYTHONPATH=operator:trainer-image .venv/bin/python benchmarks/gate.py``. Targets: under one second for one
alternative on 500 questions; a verdict that errs on the side of Inconclusive, not of Pass.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.status import GateOutcome
from tunegate_trainer.evaluation.gate import Answers, judge

BASE_RATE = 0.4
DISCORDANT = 0.25
"""Share of questions that exactly one of the two models answers right; a true gain above it makes all of them wins."""


def suite(resamples: int) -> EvaluationSuiteSpec:
    """Return a suite with the default margin of 0.05."""
    return EvaluationSuiteSpec.model_validate({
        "data": {"uri": "pvc://data/suite.jsonl", "digest": "sha256:" + "0" * 64},
        "task": {"type": "Generation"},
        "primaryMetric": {"name": "ExactMatch", "margin": "0.05"},
        "resamples": resamples,
    })  # fmt: skip


def draw(questions: int, gain: float, random: np.random.Generator) -> Answers:
    """Return answers of a tuned model that is truly better by ``gain``, each question a group of its own."""
    discordant = max(DISCORDANT, gain)
    wins = random.random(questions)
    both = random.random(questions) < (BASE_RATE - (discordant - gain) / 2) / (1 - discordant)
    tuned_only, base_only = wins < (discordant + gain) / 2, wins > 1 - (discordant - gain) / 2

    def said(only: np.ndarray, other: np.ndarray) -> list[str]:
        return [
            "yes" if mine or (same and not theirs) else "no"
            for mine, same, theirs in zip(only, both, other, strict=True)
        ]

    groups = [str(n) for n in range(questions)]
    return Answers(["yes"] * questions, groups, said(tuned_only, base_only), {"BasePlain": said(base_only, tuned_only)})


def outcomes(questions: int, gain: float, trials: int) -> dict[GateOutcome, float]:
    """Return how often each outcome comes out."""
    counts: dict[GateOutcome, float] = {"Pass": 0.0, "Inconclusive": 0.0, "Fail": 0.0}
    for trial in range(trials):
        random = np.random.default_rng([questions, int(gain * 1000), trial])
        counts[judge(suite(1000), draw(questions, gain, random), floor="0.05").outcome] += 1 / trials
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the gate and simulate its verdicts.")
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    for questions in (64, 120, 500, 5000):
        answers = draw(questions, 0.1, np.random.default_rng(1))
        started = time.perf_counter()
        judge(suite(10_000), answers, floor="0.05")
        print(f"{questions:5} questions, 10,000 resamples, one alternative: {time.perf_counter() - started:.2f} s")
    print("\ntrue gain  questions    Pass  Inconclusive  Fail")
    for gain in (0.0, 0.05, 0.1, 0.2):
        for questions in (64, 120, 500):
            shares = outcomes(questions, gain, trials)
            print(
                f"{gain:9.2f}  {questions:9}  {shares['Pass']:6.2f}  {shares['Inconclusive']:12.2f}  {shares['Fail']:4.2f}"
            )


if __name__ == "__main__":
    main()
