"""Reads what people put into a Secret: one line of plain characters, or a message that says which key is wrong."""

from __future__ import annotations

from pathlib import Path

from tunegate_trainer.endings import Unavailable


def read_value(file: Path, secret: str) -> str:
    """Return the value under the key of that name, without space around it; empty when there is none.

    ``secret``: the Secret, for people. Raises ``Unavailable`` for what no header or address can hold: the Secret can be put
    right, and the next attempt reads it again. The value itself is never quoted.
    """
    if not file.is_file():
        return ""
    try:
        value = file.read_bytes().decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{file.name} in {secret} is not plain text: put it right") from error
    if not value.isprintable():
        raise Unavailable(f"{file.name} in {secret} has more than one line, or control characters: put it right")
    return value
