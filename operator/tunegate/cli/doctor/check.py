"""One thing that was looked at: how it stands, what was found, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar

from tunegate.cli.failure import Forbidden

State = Literal["OK", "WARN", "FAIL", "not seen"]
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """``not seen``: this person may not look. That is never taken for good."""

    name: str
    state: State
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the check as plain data."""
        return asdict(self)


class NotSeen(Exception):
    """Something that a check needs may not be read by this person; the text says what."""


def need(what: str, read: Callable[..., T], *arguments: object) -> T:
    """Return what ``read`` gives. Raises ``NotSeen`` where the person may not look."""
    try:
        return read(*arguments)
    except Forbidden:
        raise NotSeen(f"you may not read {what}") from None


def looked(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return the checks of one look, or one that says what could not be seen."""
    try:
        return list(look())
    except NotSeen as error:
        return [Check(name, "not seen", str(error), "ask an auditor or an administrator to run doctor")]
