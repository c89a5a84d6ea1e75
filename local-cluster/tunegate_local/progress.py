"""Progress lines for a person who waits: what happens now, how long it should take, how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def step(what: str, expected: str = "") -> Iterator[None]:
    """Announce a step that takes a while, and say at its end how long it took."""
    say(f"  {what}" + (f" (about {expected})" if expected else ""))
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    if took >= 1:
        say(f"  {what}: done in {took:.0f} s")
