"""What a text says, however it is written: the letters and digits that a reader takes from it.

A question is to be found again though somebody changed its case or width, put marks, signs, spaces or invisible characters
into its words, wrote it with letters of other alphabets that look the same, or with digits that stand for letters. All of
these are made equal here, for comparison alone: the result is too coarse to be shown, and is never kept as a text.

`visible` takes away what nobody sees and changes nothing else. `plain` is for words. `letters` is for runs of text: a
stream of UTF-8 bytes without anything between the letters. `readings` are other texts that a text holds, in a code that
everybody can undo.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import numpy

from tunegate_trainer.checks.lookalikes import LOOKALIKES

IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of Unicode 15: what is to be shown as nothing. As a part of a pattern."""
_IGNORED = re.compile(f"[{IGNORABLE}]+")
_NAMED = re.compile(
    r"(?:LATIN LETTER SMALL CAPITAL|LATIN SMALL LETTER|REGIONAL INDICATOR SYMBOL LETTER"
    r"|(?:NEGATIVE|CROSSED NEGATIVE) (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER) ([A-Z])(?: WITH .*)?"
)
_OPERATORS = "+-*/=<>^%"
"""Between digits they change what is said; elsewhere they are punctuation."""
_KEPT = re.compile(rf"[^\W_]|[{re.escape(_OPERATORS)}]")


def _plainer() -> dict[int, str]:
    """Return characters that ``unicodedata`` does not fold by itself, to what they are read as."""
    found = {ord(other): plain for plain, others in LOOKALIKES.items() for other in others}
    for code in range(0x80, 0x20000):
        character = chr(code)
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            found[code] = str(digit)
        elif (named := _NAMED.fullmatch(unicodedata.name(character, ""))) and code not in found:
            found[code] = named[1].lower()
        elif unicodedata.category(character) == "Pd" or character == "\u2212":
            found[code] = "-"
    return found | {ord("\u00d7"): "*", ord("\u00f7"): "/"}


_PLAINER = _plainer()
_TAGS = re.compile("[\U000e0020-\U000e007e]+")


def visible(text: str) -> str:
    """Return the text without the characters that nobody sees."""
    return text if text.isascii() else _IGNORED.sub("", text)


def legible(text: str) -> str:
    """Return what is seen of a text, in the usual forms of its characters (Unicode NFKC)."""
    return text if text.isascii() else unicodedata.normalize("NFKC", visible(text))


def folded(text: str) -> str:
    """Return what is seen of a text, without case and without differences of writing alone (Unicode NFKC_Casefold)."""
    if text.isascii():
        return text.lower()  # the same, and faster
    return unicodedata.normalize("NFKC", legible(text).casefold())


def plain(text: str) -> str:
    """Return the folded text with letters of ASCII for those that look the same, and without marks on such letters."""
    seen = folded(text)
    if seen.isascii():
        return seen
    seen = seen.translate(_PLAINER)
    return (
        seen if seen.isascii() else unicodedata.normalize("NFC", _MARKED.sub(r"\1", unicodedata.normalize("NFD", seen)))
    )


_MARKED = re.compile("([a-z0-9])[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""Marks belong to the word in other scripts, where they are its vowels."""


_DELETED = bytes(code for code in range(128) if not (chr(code).isalnum() or chr(code) in _OPERATORS))
_LOWER = bytes(ord(chr(code).lower()) if code < 128 else code for code in range(256))


def stream(text: str) -> bytes:
    """Return the letters and digits of a text, and operators that may stand between digits, as UTF-8."""
    if not text.isascii():
        seen = unicodedata.normalize("NFKD", plain(text)).translate(_PLAINER)
        text = unicodedata.normalize("NFC", "".join(_KEPT.findall(seen)))
    return text.encode("utf-8", "surrogatepass").translate(_LOWER, _DELETED)


_IS_DIGIT = numpy.zeros(256, bool)
_IS_DIGIT[list(b"0123456789")] = True
_IS_OPERATOR = numpy.zeros(256, bool)
_IS_OPERATOR[list(_OPERATORS.encode())] = True
_READ_AS = numpy.arange(256, dtype=numpy.uint8)
_READ_AS[list(b"01i3457829")] = list(b"olleastbzg")


def letters(*texts: str) -> Any:
    """Return the streams of the texts, one after the other, as an array of uint8, with digits as the letters that they may
    stand for and without operators that stand elsewhere than between digits."""
    found = numpy.frombuffer(b"".join(map(stream, texts)), numpy.uint8)
    operator = _IS_OPERATOR[found]
    if operator.any():
        digit = _IS_DIGIT[found]
        between = numpy.zeros(len(found), bool)
        between[1:-1] = digit[:-2] & digit[2:]
        found = found[~operator | between]
    return _READ_AS[found]


_ENTITY = re.compile(r"&(?:#\d{2,7}|#[xX][0-9a-fA-F]{2,6}|[a-zA-Z]{2,31});")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[ntr]")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_STANDS_FOR = str.maketrans("@$!|", "asil")
_SYMBOLS = re.compile(r"[A-Za-z0-9][@$!|][A-Za-z0-9]")
CODED = 32
"""Letters in a row from which they may be a code."""
_CODED = re.compile(r"[A-Za-z0-9+/_-]{32,}+(?:\s[A-Za-z0-9+/_-]{16,}+)*+={0,2}")
_LONGEST = 1 << 16
"""Characters of a coded stretch that are decoded, at most."""


def readings(text: str) -> Iterator[str]:
    """Yield other texts that this one holds: entities, escapes and codes undone, letters for signs, hidden tags."""
    if "&" in text and _ENTITY.search(text):
        yield html.unescape(text)
    if "%" in text and len(_PERCENT.findall(text)) > 3:
        yield unquote(text)
    if "\\" in text and _ESCAPE.search(text):
        yield _ESCAPE.sub(lambda found: _ESCAPED.get(found[0][1]) or chr(int(found[0][2:], 16)), text)
    if any(sign in text for sign in "@$!|") and len(_SYMBOLS.findall(text)) > 2:
        yield text.translate(_STANDS_FOR)
    for coded in _CODED.findall(text) if len(max(text.split(), key=len, default="")) >= CODED else ():
        yield from _decoded(re.sub(r"[\s=]", "", coded[:_LONGEST]))
    if not text.isascii() and (tags := "".join(_TAGS.findall(text))):
        yield "".join(chr(ord(tag) - 0xE0000) for tag in tags)


def _decoded(coded: str) -> Iterator[str]:
    """Yield the text that is written in hexadecimal or base64, if there is one."""
    try:
        yield from _text(bytes.fromhex(coded))
    except ValueError:
        if coded.islower() or coded.isupper():
            return  # base64 of a text has letters of both kinds
        with suppress(binascii.Error):
            yield from _text(base64.b64decode(coded[: len(coded) // 4 * 4].translate(_URL_SAFE)))


_URL_SAFE = str.maketrans("-_", "+/")


def _text(content: bytes) -> Iterator[str]:
    said = content.decode("utf-8", "ignore")
    if sum(character.isalnum() or character.isspace() for character in said) > 0.7 * len(content):
        yield said


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts of a JSON value, names too, and those of JSON that is written in a text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield from texts_in(inner) if (inner := _json(value)) is not None else (value,)


def _json(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
