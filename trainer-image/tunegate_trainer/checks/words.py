"""Texts as numbers: 64-bit hashes of what is compared, so that a million rows fit into memory and no text is kept.

Two different texts share a hash with a probability of about n² / 2^65 for n texts: 3e-8 for a million.

There are two ways to compare. As a whole, where one sign changes the meaning: `normal` keeps operators, signs and accents.
In runs of words, where small changes are to be passed over: `words` leaves punctuation out, and reads letters that look alike
as the same.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any
from zlib import crc32

import numpy

from tunegate_trainer.checks.letters import folded, plain

_MARKS = "".join(
    re.escape(chr(code)) for code in range(0x300, 0x20000) if unicodedata.category(chr(code)).startswith("M")
)
"""Vowel signs and accents that stand after their letter: part of a word, though not for `\\w`."""
_UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Chinese, Japanese
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u1aaf"  # Thai, Lao, Burmese, Khmer, Tai
)
"""Scripts without spaces between words."""
_WORD = re.compile(rf"[^\W{_UNSPACED}]+(?:[{_MARKS}]+[^\W{_UNSPACED}]*)*|[{_UNSPACED}][{_MARKS}]*")
_PLAIN_WORD = re.compile(r"\w+", re.ASCII)
"""The same for ASCII, five times as fast."""
_FACTOR = numpy.uint64(0x9E3779B97F4A7C15)
"""Odd, from the golden ratio: Knuth, The Art of Computer Programming 3, 6.4, multiplicative hashing."""
_END_OF_SENTENCE = " .!?。।؟"
"""After folding, which makes wide signs and dots of an ellipsis plain."""

Hashes = Any
"""One-dimensional numpy array of uint64."""


def words(text: str) -> list[str]:
    """Return the words of a text, without case and punctuation; where no spaces part them, each character is one."""
    said = plain(text)
    return (_PLAIN_WORD if said.isascii() else _WORD).findall(said)


def normal(text: str) -> str:
    """Return the text without case, surplus white space and what ends its last sentence; of nothing else, as it is."""
    seen = " ".join(folded(text).split())
    return seen.rstrip(_END_OF_SENTENCE) or seen


def text_hash(text: str) -> int:
    """Return 64 bits that name a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@cache
def _powers(count: int) -> Any:
    powers = numpy.full(count, _FACTOR)
    powers[0] = 1
    return numpy.cumprod(powers, dtype=numpy.uint64)


def word_hashes(found: Sequence[str]) -> Any:
    """Return 32 bits that name each word, in their order, as an array of uint32."""
    return numpy.fromiter(map(crc32, map(str.encode, found)), numpy.uint32, len(found))


def gram_hashes(each: Any, length: int) -> Hashes:
    """Return the hashes of all runs of ``length`` words, by the words' hashes; of a shorter text the empty array."""
    if len(each) < length:
        return numpy.empty(0, numpy.uint64)
    # A run's words are the digits of a number to the base of the factor.
    hashes = numpy.convolve(each.astype(numpy.uint64), _powers(length), "valid")
    # The low bits of a product depend on low bits only: mix the high ones in.
    return hashes ^ (hashes >> numpy.uint64(29))
