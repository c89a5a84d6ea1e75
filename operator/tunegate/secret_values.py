"""Reads what people put into a Secret: one line of plain characters, or a message that says which key is wrong."""

from __future__ import annotations

from pathlib import Path


def read_value(file: Path) -> str:
    """Return the value under the key of that name, as `AWS_REGION`, without space around it; empty when there is none.

    Raises ``ValueError`` for what no header or address can hold. The value itself is never quoted.
    """
    if not file.is_file():
        return ""
    try:
        value = file.read_bytes().decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"has an {file.name} that is not plain text: correct it") from error
    if not value.isprintable():
        raise ValueError(f"has an {file.name} with more than one line, or with control characters: correct it")
    return value
