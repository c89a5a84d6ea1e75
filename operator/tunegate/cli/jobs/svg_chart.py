"""Curves and bars as one SVG image, which needs no library to draw and none to look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from tunegate.cli.jobs.curves import Bar, Curves, Points

WIDTH, MARGIN, LEFT = 720, 48, 190
"""Pixels; ``LEFT`` is the room for names beside the bars."""
CURVES, BAR = 280, 26
"""Heights."""
TRAINING, DEVELOPMENT, OTHER = "#5b7db1", "#d1622b", "#9aa5b1"
"""Colors that people with color blindness tell apart."""


def svg(title: str, curves: Curves, bars: Sequence[Bar]) -> str:
    """Return the image; a part without numbers is left out."""
    parts: list[str] = []
    height = MARGIN
    if curves.known:
        parts += _curves(curves, height)
        height += CURVES + MARGIN
    if bars:
        parts += _bars(bars, height)
        height += len(bars) * BAR + MARGIN // 2
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13" role="img" aria-label="{escape(title)}">'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    return "\n".join([head, background, _text(MARGIN, 24, title, weight="bold"), *parts, "</svg>", ""])


def _curves(curves: Curves, top: int) -> Iterator[str]:
    points = [*curves.training, *curves.development]
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    last = max(step for step, _ in points)
    bottom, right = top + CURVES, WIDTH - MARGIN
    yield f'<path d="M{MARGIN},{top}V{bottom}H{right}" fill="none" stroke="#444"/>'
    yield _text(4, top + 5, f"{high:.3f}")
    yield _text(4, bottom, f"{low:.3f}")
    yield _text(right, bottom + 18, f"step {last}", anchor="end")

    def place(step: int, loss: float) -> str:
        x = MARGIN + step / max(last, 1) * (right - MARGIN)
        y = top + (high - loss) / (high - low) * CURVES if high > low else (top + bottom) / 2
        return f"{x:.1f},{y:.1f}"

    series: tuple[tuple[str, str, Points], ...] = (
        ("training loss", TRAINING, curves.training), ("development loss", DEVELOPMENT, curves.development),
    )  # fmt: skip
    for number, (name, color, some) in enumerate(series):
        if some:
            drawn = " ".join(place(*point) for point in some)
            yield f'<polyline points="{drawn}" fill="none" stroke="{color}" stroke-width="2"/>'
            yield _text(right, top + 14 + 18 * number, name, anchor="end", color=color)
    for point in curves.development:
        x, y = place(*point).split(",")
        kept = point[0] == curves.best_step
        yield f'<circle cx="{x}" cy="{y}" r="{6 if kept else 3}" fill="{DEVELOPMENT}"/>'
    if curves.best_step is not None:
        yield _text(MARGIN, bottom + 18, f"step {curves.best_step} was kept")


def _bars(bars: Sequence[Bar], top: int) -> Iterator[str]:
    room = WIDTH - LEFT - 130
    for number, bar in enumerate(bars):
        y = top + number * BAR
        yield _text(LEFT - 8, y + 15, bar.name, anchor="end")
        color = DEVELOPMENT if number == 0 else OTHER
        yield f'<rect x="{LEFT}" y="{y}" width="{bar.score * room:.1f}" height="{BAR - 8}" fill="{color}"/>'
        yield _text(int(LEFT + bar.score * room) + 6, y + 15, f"{bar.score:.3f} {bar.outcome}")


def _text(x: int, y: int, text: str, *, anchor: str = "start", color: str = "#222", weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{color}" font-weight="{weight}">{escape(text)}</text>'
