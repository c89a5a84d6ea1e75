"""What checkpoints that were kept elsewhere say against a ledger. Pure.

An anchor must stand in the ledger byte for byte, or be explained by an epoch. One that does not, and that our key signed,
proves that the ledger once was longer or other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunegate.keys import PublicKey
from tunegate.ledger.chain import Link, Problem, record_name
from tunegate.ledger.epoch import Epoch
from tunegate.ledger.key_history import KeyHistory
from tunegate.ledger.seal import Sealed, read_seal


@dataclass(frozen=True)
class Anchor:
    """A checkpoint that was kept outside the cluster; ``name`` says where."""

    name: str
    text: str


@dataclass(frozen=True)
class Contradiction:
    """An anchor that the ledger denies. ``behind``: the ledger ends before it, as after a roll-back."""

    sealed: Sealed
    problem: Problem
    behind: bool

    @property
    def size(self) -> int:
        """How many records it covers."""
        return int(self.sealed.content["size"])


@dataclass(frozen=True)
class Comparison:
    """What came out: anchors that cannot be used, and anchors that prove something."""

    unusable: tuple[Problem, ...]
    contradictions: tuple[Contradiction, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything, the smallest contradicting anchor first."""
        return (*self.unusable, *(one.problem for one in self.contradictions))


@dataclass(frozen=True)
class Known:
    """What a verification knows of the ledger that anchors can be compared with."""

    key_history: KeyHistory
    seals: Mapping[int, Sealed]
    """Signed statements by the number of records that they cover."""
    epochs: Sequence[Epoch]
    last: Link | None


def compare(known: Known, keys: Sequence[PublicKey], anchors: Sequence[Anchor]) -> Comparison:
    """Compare every anchor; ``keys`` are the reader's own, without any an anchor needs no signature to contradict."""
    trusted = known.key_history.trusted(keys)
    unusable: list[Problem] = []
    readable: list[tuple[int, str, Sealed]] = []
    for anchor in anchors:
        try:
            sealed = read_seal(anchor.text)
        except ValueError as error:
            unusable.append(Problem(anchor.name, f"{error}. The anchor itself was changed"))
            continue
        readable.append((sealed.content["size"], anchor.name, sealed))
    agreed: Link | None = None
    contradictions = []
    for size, name, sealed in sorted(readable, key=lambda one: one[:2]):
        held = known.seals.get(size)
        if held is not None and held.text == sealed.text:
            agreed = held.covers
        elif keys and not any(key.signed(sealed.envelope) for key in trusted):
            says = "is not signed by a given key: the anchor itself was changed, or is another ledger's"
            unusable.append(Problem(name, says))
        elif not any(epoch.lost(sealed) for epoch in known.epochs):
            behind = known.last is None or known.last.sequence <= size
            problem = Problem(name, _contradiction(sealed, known.last, agreed))
            contradictions.append(Contradiction(sealed, problem, behind))
    return Comparison(tuple(unusable), tuple(contradictions))


def _contradiction(sealed: Sealed, last: Link | None, agreed: Link | None) -> str:
    size = sealed.content["size"]
    when = f"at {sealed.content['ts']} the ledger held {size} records and this checkpoint"
    since = f"after {record_name(agreed.sequence)} ({agreed.time})" if agreed is not None else "at any place before it"
    held = last.sequence if last is not None else 0
    if held <= size:
        return (
            f"{when}; now it ends at record {held}: its tail was cut off or it was rolled back to an older state, "
            f"unless these records were exported before the anchor was made"
        )
    return f"{when}; now it holds another: records were changed, removed or written again, {since}"
