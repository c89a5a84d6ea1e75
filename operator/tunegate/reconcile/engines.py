"""Which images may run as an engine: whoever chooses one runs a program of theirs beside data and adapters. Pure."""

from __future__ import annotations

from collections.abc import Collection

VALUE = "images.engines"
"""Where the chart's values list them."""


def not_listed(server: str, image: str, listed: Collection[str]) -> str | None:
    """Return why no pod may run a server's engine image, and what to do; None: the list has it."""
    if image in listed:
        return None
    names = ", ".join(sorted(listed)) or "empty, so that no engine runs"
    return (
        f"the image of ModelServer {server}, {image}, is not among the engine images of this installation ({names}). The "
        f"platform team adds it to {VALUE} of the chart's values, or make a ModelServer with one of these"
    )
