"""Rows without the personal data, health identifiers and secrets that were found in them: a placeholder says what was there.

What is found is replaced wherever it stands in the row, also where no word beside it says what it is. Of a secret that a
check knows by its beginning, the rest goes too. A text that is JSON stays JSON. Where something cannot be replaced it stays:
who looks at the row again finds it again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from tunegate.api.datachecks import DataCheck
from tunegate_trainer.checks.privacy import SECRET_AT_ALL, GaveUp, recognizers, secret_patterns
from tunegate_trainer.data.rows import Row

LEAST_SECRET = 20
"""Characters from which a group of a pattern is the secret itself, and the rest of the match what names it."""
MOST_KNOWN = 1000
"""Different things of one row that are looked for in its other texts too: with more, the time would grow beyond measure."""
_TOKEN = r"[\w+/=~-]"
_REST_OF_TOKEN = re.compile(rf"(?<={_TOKEN}){_TOKEN}*+(?:\.{_TOKEN}++)*+")
_WORD = re.compile(r"\w")
_KEY_BEGINS = ("BEGIN ", "PuTTY-")
_KEY_ENDS = re.compile(r"END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-*+")


@dataclass(frozen=True)
class Match:
    """A piece of a text and what it is."""

    start: int
    end: int
    kind: str


def placeholder(kind: str) -> str:
    """Return what stands in place of a kind of thing, such as ``<EMAIL_ADDRESS>``."""
    return f"<{re.sub(r'[^A-Z0-9]+', '_', kind.upper().replace('E-MAIL', 'EMAIL'))}>"


def redact(row: Row, checks: frozenset[DataCheck]) -> tuple[Row, Counter[str]]:
    """Return the row without what these checks find in its conversation and tools, and how often each placeholder was put
    in; the row as it is when a search takes too long."""
    whole = "\n".join(row.texts)
    try:
        known = {whole[found.start : found.end]: found.kind for found in matches(whole, checks)}
        scissors = _Scissors(checks, dict(islice(known.items(), MOST_KNOWN)))
        messages, tools = (tuple(map(scissors.cut, part)) for part in (row.messages, row.tools))
    except GaveUp:
        return row, Counter()
    return replace(row, messages=messages, tools=tools), scissors.replaced


def matches(text: str, checks: frozenset[DataCheck]) -> Iterator[Match]:
    """Yield everything that these checks find in a text; matches may overlap. Raises ``GaveUp``."""
    for recognizer in recognizers():
        if recognizer.check in checks:
            for start, end in recognizer.matches(text):
                yield Match(start, end, recognizer.kind)
    for kind, pattern in secret_patterns() if "Secrets" in checks and SECRET_AT_ALL.search(text) else ():
        end = 0
        for found in pattern.finditer(text):
            if found.start() >= end:  # else it is part of the secret before
                start, end = _secret(found)
                yield Match(start, end, kind)


def _secret(found: re.Match[str]) -> tuple[int, int]:
    """Return begin and end of the secret that a pattern found: without what names it, and with all that belongs to it."""
    text, (start, end) = found.string, found.span()
    if found.group().startswith(_KEY_BEGINS):
        last = _KEY_ENDS.search(text, end)
        dashes = "-----"
        start -= len(dashes) if text.endswith(dashes, 0, start) else 0
        return start, last.end() if last else len(text)
    if found.re.groups and len(found[1] or "") >= LEAST_SECRET:
        start, end = found.span(1)
    # `://user:password@`: the signs around it belong to the address.
    start = end - len(text[start:end].lstrip(":/"))
    if text[end - 1] == "@":
        return start, end - 1
    rest = _REST_OF_TOKEN.match(text, end)
    return start, rest.end() if rest else end


@dataclass(frozen=True)
class _Scissors:
    """Cuts texts of one row."""

    checks: frozenset[DataCheck]
    known: Mapping[str, str]
    """What was found in the row as a whole, to its kind: its parts by themselves may lack the word beside a number."""
    replaced: Counter[str] = field(default_factory=Counter)

    def cut(self, value: Any) -> Any:
        """Return a turn, a tool or what is within them with every text redacted."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {name: self.cut(inner) for name, inner in value.items()}
        return [self.cut(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str) -> str:
        found = _merged([*matches(text, self.checks), *self._again(text)])
        is_json = _is_json(text)
        pieces, position = [], 0
        for match in found:
            start = match.start + (is_json and _escaped(text, match.start))
            pieces += [text[position:start], placeholder(match.kind)]
            position = match.end
        changed = "".join([*pieces, text[position:]])
        if is_json and not _is_json(changed):
            return text
        self.replaced.update(placeholder(match.kind) for match in found)
        return changed

    def _again(self, text: str) -> Iterator[Match]:
        for value, kind in self.known.items():
            start = text.find(value)
            while start >= 0:
                end = start + len(value)
                # Not within a longer word or number.
                if not ((start and _WORD.match(text, start - 1)) or _WORD.match(text, end)):
                    yield Match(start, end, kind)
                start = text.find(value, end)


def _merged(found: Sequence[Match]) -> list[Match]:
    """Return the matches in order, those that overlap as one, of the kind of the first. Of two that match the same, the later
    kind counts: a patient number looks like a phone number."""
    merged: list[Match] = []
    for match in sorted(found, key=lambda one: (one.start, -one.end)):
        last = merged[-1] if merged else None
        if last is None or match.start >= last.end:
            merged.append(match)
        else:
            same = (match.start, match.end) == (last.start, last.end)
            merged[-1] = match if same else replace(last, end=max(last.end, match.end))
    return merged


def _is_json(text: str) -> bool:
    """Whether a text as a whole is a JSON object or list."""
    try:
        return text.lstrip()[:1] in ("{", "[") and json.loads(text) is not None
    except (ValueError, RecursionError):
        return False


def _escaped(text: str, at: int) -> bool:
    """Whether a backslash escapes the character there: without it, the backslash would eat the next sign."""
    begin = at
    while begin and text[begin - 1] == "\\":
        begin -= 1
    return (at - begin) % 2 == 1
