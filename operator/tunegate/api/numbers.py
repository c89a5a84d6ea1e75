"""Numbers that people write, as numbers or as text: `0.05`, `"0.05"`, `1e-3`. The model holds each as one plain decimal.

A structural schema has no type for "number or text", so the field has none, and value validations say what may stand
there: those for numbers, those for texts, and that nothing else may. CEL rules cannot read such a field.
"""

from __future__ import annotations

import decimal
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from tunegate.api.markers import UNTYPED

_FRACTION = r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$"
_AMOUNT = r"^[0-9]+(\.[0-9]{1,9})?(e-[0-9]{1,2})?$"
_TEXT = re.compile(r"[0-9]+(\.[0-9]+)?(e-[0-9]{1,2})?")
"""Looser than what the server takes from people: what was read once is read again with all its places."""
CHOICE = re.compile(r"\[([^][|]+)\|([^][|]+)\]")
MOST = 10**15
PLACES = 9
"""Places after the point that `plain` writes at most."""
SIZES = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def _plain(value: decimal.Decimal) -> str:
    """Return the number without exponent and without zeros that say nothing."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: float) -> str:
    """Return a measured or calculated number as people read it: four significant digits or all before the point, no exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else _plain(round(decimal.Decimal(f"{value:.4g}"), PLACES))


def percent(share: float) -> str:
    """Return a share as a percentage of two significant digits or more: `0 %`, `0.002 %`, `12.5 %`; never zero for what is not."""
    return f"{plain(100 * share)} %"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, name in SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """Return a length of time for people: seconds below two minutes, then minutes."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{round(seconds)} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def count_of(count: int, noun: str) -> str:
    """Return how many there are, with the noun in singular or plural: `1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def agreeing(text: str, count: int) -> str:
    """Return the text with its `[one|many]` as the count wants it: `{count} [row repeats|rows repeat] …`."""
    return CHOICE.sub(lambda choice: choice[1 if count == 1 else 2], text)


def _schema(pattern: str, maximum: int) -> WithJsonSchema:
    return WithJsonSchema({
        UNTYPED: True,
        "pattern": pattern, "maxLength": 20, "minimum": 0, "maximum": maximum,
        "maxItems": 0, "maxProperties": 0, "not": {"enum": [True, False, [], {}]},
    })  # fmt: skip


def _reader(maximum: int) -> BeforeValidator:
    def read(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("is neither a number nor the text of one")
        if isinstance(value, str) and not _TEXT.fullmatch(value):
            raise ValueError(f"is not a number from 0 to {maximum} in digits, as 0.05 or 1e-3")
        number = decimal.Decimal(str(value))
        if not number.is_finite() or not 0 <= number <= maximum:
            raise ValueError(f"is not a number from 0 to {maximum}")
        return _plain(number)

    return BeforeValidator(read)


Fraction = Annotated[str, _reader(1), _schema(_FRACTION, 1)]
"""A number between 0 and 1."""
Amount = Annotated[str, _reader(MOST), _schema(_AMOUNT, MOST)]
"""A number from 0 on: a rate, a price, hours."""
PlainDecimal = Annotated[str, Field(max_length=128, pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
"""A number in a status, which the operator writes: without exponent."""
