"""What is wrong with a request's body, in a form that crosses process borders and needs no web framework."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault: ``code`` is the machine's word, ``message`` the person's, ``param`` the field's place."""

    code: str
    message: str
    param: str | None = None


class Wrong(Exception):
    """A field does not hold what it may hold. The message goes on after the field's name: "must be …"."""

    def __init__(self, field: str, message: str, code: str = "invalid_field") -> None:
        super().__init__(message)
        self.problem = Problem(code, f"field {field}: {message}" if field else f"the body {message}", field or None)
