"""Texts as numbers: 64-bit hashes of what is compared, so that a million rows fit into memory and no text is kept.

Two different texts share a hash with a probability of about n² / 2^65 for n texts: 3e-8 for a million.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from zlib import crc32

import numpy

_WORD = re.compile(r"\w+")
_FACTOR = numpy.uint64(0x9E3779B97F4A7C15)
"""Odd, from the golden ratio: Knuth, The Art of Computer Programming 3, 6.4, multiplicative hashing."""

Hashes = Any
"""One-dimensional numpy array of uint64."""


def words(text: str) -> list[str]:
    """Return the words of a text, without case, spaces and punctuation."""
    return _WORD.findall(text.lower())


def normal(text: str) -> str:
    """Return the words of a text, a space between them; a text without words as it is."""
    return " ".join(words(text)) or text


def text_hash(text: str) -> int:
    """Return 64 bits that name a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def gram_hashes(found: list[str], length: int) -> Hashes:
    """Return the distinct hashes of all runs of ``length`` words, sorted; of a shorter text the empty array."""
    count = len(found) - length + 1
    if count <= 0:
        return numpy.empty(0, numpy.uint64)
    each = numpy.fromiter((crc32(word.encode()) for word in found), numpy.uint64, len(found))
    hashes = numpy.zeros(count, numpy.uint64)
    for offset in range(length):
        hashes = hashes * _FACTOR + each[offset : offset + count]
    # The low bits of a product depend on low bits only: mix the high ones in.
    return numpy.unique(hashes ^ (hashes >> numpy.uint64(29)))
