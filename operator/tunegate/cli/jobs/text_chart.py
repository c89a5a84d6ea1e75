"""Curves and bars as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.cli.jobs.curves import Bar, Curves

ROWS, LEAST_COLUMNS, MOST_COLUMNS = 12, 20, 100
LABEL = 9
"""Characters of a loss beside the axis, with a space."""
TRAINING, DEVELOPMENT = "·", "o"
BAR = "█"
SCORE = 6
"""Characters of a score, with the space before it."""


def lines_of_curves(curves: Curves, width: int) -> list[str]:
    """Return the chart; the development loss lies over the training loss."""
    columns = max(LEAST_COLUMNS, min(MOST_COLUMNS, width - LABEL - 1))
    points = [*curves.training, *curves.development]
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    last = max(step for step, _ in points)
    grid = [[" "] * columns for _ in range(ROWS)]
    for sign, some in ((TRAINING, curves.training), (DEVELOPMENT, curves.development)):
        for step, loss in some:
            row = round((high - loss) / (high - low) * (ROWS - 1)) if high > low else ROWS // 2
            grid[row][round(step / max(last, 1) * (columns - 1))] = sign
    labels = {0: f"{high:.4f}", ROWS - 1: f"{low:.4f}"}
    lines = [f"{labels.get(number, ''):>{LABEL - 1}} │{''.join(row).rstrip()}" for number, row in enumerate(grid)]
    end = f"step {last}"
    return [*lines, f"{'':>{LABEL}}└{'─' * columns}", f"{'':>{LABEL}} 0{end:>{columns - 1}}", *_legend(curves)]


def lines_of_bars(bars: Sequence[Bar], width: int) -> list[str]:
    """Return one line for each score: name, bar, number and outcome."""
    names = max(len(bar.name) for bar in bars)
    outcomes = max(len(bar.outcome) for bar in bars)
    room = max(LEAST_COLUMNS, min(MOST_COLUMNS, width - names - SCORE - outcomes - 4))
    return [
        f"{bar.name:<{names}}  {BAR * round(bar.score * room):<{room}} {bar.score:.3f} {bar.outcome}".rstrip()
        for bar in bars
    ]


def _legend(curves: Curves) -> list[str]:
    told = [f"{TRAINING} training loss"] if curves.training else []
    told += [f"{DEVELOPMENT} development loss"] if curves.development else []
    told += [f"step {curves.best_step} was kept"] if curves.best_step is not None else []
    return [f"{'':>{LABEL}} {'   '.join(told)}"]
