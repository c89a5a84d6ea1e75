"""Work beside other work: for what holds no interpreter lock, such as slow hashes, unpacking and tokenizing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")


def meanwhile(work: Callable[P, R], *values: P.args, **named: P.kwargs) -> Callable[[], R]:
    """Begin the work in a thread of its own, and return what waits for its result, or raises what it raised."""
    beside = ThreadPoolExecutor(1, "meanwhile")
    done = beside.submit(work, *values, **named)
    beside.shutdown(wait=False)
    return done.result


def one_ahead(work: Callable[[A], R], values: Iterable[A]) -> Iterator[tuple[A, R]]:
    """Yield each value with the work's result, which is made while the value before it is used. Raises what the work raises."""
    with ThreadPoolExecutor(1, "ahead") as beside:
        waiting = None
        for value in values:
            begun = value, beside.submit(work, value)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = begun
        if waiting is not None:
            yield waiting[0], waiting[1].result()
