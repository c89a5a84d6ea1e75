"""What a regular expression costs an engine that compiles it into a grammar, told before the engine sees it.

xgrammar 0.2.8 works out, for every state of the grammar, which tokens of the vocabulary may come next, once when it compiles
and again for every token of an answer, in the engine's own loop. Measured on two busy cores: `.{1,128}` compiles for 4.6 s
with 49,152 tokens and 7.7 s with 150,000; two hundred `.` in a row 6.3 s; `[a-z]{1,400}` 1 s. Elements that may be left out,
written one after the other, are worse: each token of `.?` eight times takes up to 54 ms, sixteen times 0.9 s, thirty-two
times **20 s**, and everybody's answers wait for it. So what counts is how many elements match nearly everything, and how
many may be there or not. A unit is about a millisecond.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

LONGEST = 1024
"""Characters of one pattern."""
DEEPEST = 16
MOST_REPEATS = 1024
NARROW = 64
"""A class of more characters than this counts as one that matches nearly everything."""


class Unclear(ValueError):
    """A pattern that this module cannot read; the message says why."""


@dataclass
class Elements:
    """What a pattern consists of, with bounded repetitions written out."""

    wide_fixed: float = 0
    wide_optional: float = 0
    narrow: float = 0
    left_out: float = 0
    """Places at which something may be left out, that is: ways in which the same text may be read."""

    def add(self, other: Elements, times: float, *, optional: bool) -> None:
        """Add ``other``, so many times; what is optional may be there or not."""
        self.narrow += other.narrow * times
        self.wide_optional += (other.wide_optional + (other.wide_fixed if optional else 0)) * times
        self.wide_fixed += 0 if optional else other.wide_fixed * times
        self.left_out += other.left_out * times

    @property
    def cost(self) -> float:
        """Units, as measured."""
        wide = 4 * self.wide_optional**2 + self.wide_fixed**2 / 4
        return wide + 5 * self.narrow + self.left_out**4 / 4


def cost(pattern: str) -> float:
    """Return what ``pattern`` costs. Raises ``Unclear``."""
    if len(pattern) > LONGEST:
        raise Unclear(f"a pattern has at most {LONGEST} characters")
    if "\x00" in pattern:
        raise Unclear("a pattern has no NUL character")
    if re.search(r"\(\?(?!:)", pattern):
        raise Unclear("of groups that begin with (? only (?: is known")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError) as error:
        raise Unclear("it cannot be read as a regular expression") from error
    return _sequence(parsed, 0).cost + len(pattern)


def _sequence(parsed: Any, depth: int) -> Elements:
    if depth > DEEPEST:
        raise Unclear(f"groups nest at most {DEEPEST} deep")
    found = Elements()
    for operation, argument in parsed:
        _element(str(operation), argument, depth, found)
    return found


def _element(operation: str, argument: Any, depth: int, found: Elements) -> None:
    if operation in {"LITERAL", "AT"}:
        found.narrow += operation == "LITERAL"
    elif operation in {"ANY", "NOT_LITERAL"}:
        found.wide_fixed += 1
    elif operation == "IN":
        if _narrow(argument):
            found.narrow += 1
        else:
            found.wide_fixed += 1
    elif operation == "SUBPATTERN":
        found.add(_sequence(argument[-1], depth + 1), 1, optional=False)
    elif operation == "BRANCH":
        for branch in argument[1]:
            found.add(_sequence(branch, depth + 1), 1, optional=True)
    elif operation in {"MAX_REPEAT", "MIN_REPEAT"}:
        least, most, inner = argument
        _repeat(int(least), int(most), _sequence(inner, depth + 1), found)
    else:
        raise Unclear("look-around, references and possessive repeats are not known to the engine")


def _repeat(least: int, most: int, inner: Elements, found: Elements) -> None:
    bounded = most < 2**31
    if least > MOST_REPEATS or (bounded and most > MOST_REPEATS):
        raise Unclear(f"something repeats at most {MOST_REPEATS} times")
    found.add(inner, least, optional=False)
    found.add(inner, most - least if bounded else 1, optional=True)
    found.left_out += bounded and most > least


def _narrow(members: Any) -> bool:
    width = 0
    for operation, argument in members:
        name = str(operation)
        if name == "LITERAL":
            width += 1
        elif name == "RANGE":
            width += argument[1] - argument[0] + 1
        elif name == "CATEGORY" and str(argument) in {"CATEGORY_DIGIT", "CATEGORY_SPACE"}:
            width += 10
        else:
            return False
    return width <= NARROW
