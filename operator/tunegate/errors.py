"""The three ways in which a reconcile can fall short; no other exception class crosses modules.

``Waiting`` is not an error: something outside has to happen first. ``Transient`` is retried with back-off. ``Terminal``
needs a person: it is reported and retried only by the slow resync, or when the object changes.
"""

from __future__ import annotations

from pydantic import ValidationError

MOST_PLACES = 20
"""Of a document that a message names."""


class Waiting(Exception):
    """Something else has to happen first.

    ``reason`` is a word of ``tunegate.api.reasons``; ``requeue_after`` is in seconds.
    """

    def __init__(self, reason: str, message: str, *, requeue_after: float = 30.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.requeue_after = requeue_after


class Transient(Exception):
    """A call failed in a way that may pass by itself: trying again is right. ``retry_after`` is in seconds, if known."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Terminal(Exception):
    """Trying again without a change is futile. ``reason`` is a word for logs and metrics; ``message`` says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def wrong_fields(error: ValidationError) -> str:
    """Return the places that a document fails at. Not the error's own text: it quotes the document, which may hold data."""
    places = wrong_places(error)
    more = f", and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
    return "these fields are wrong: " + ", ".join(places[:MOST_PLACES]) + more


def wrong_places(error: ValidationError) -> list[str]:
    """Return the places that a document fails at, each with at most 200 characters: names in it may be of any length."""
    places = (".".join(map(str, entry["loc"])) for entry in error.errors(include_input=False, include_url=False))
    return [shorten(place) or "the whole document" for place in places]


def shorten(text: str, most: int = 200) -> str:
    """Return text with at most ``most`` characters, its middle left out."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
