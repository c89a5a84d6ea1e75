"""Is a ledger what the operator wrote? Pure: records, public keys and anchors come in, a report in plain words goes out.

What each means: the chain shows edits, gaps and order; a checkpoint, signed, shows that whoever made the chain anew had no
key; an anchor, a checkpoint that was kept elsewhere, shows that the ledger once was longer or other. No key that comes
with the records is trusted: it only helps to name the one that should be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.keys import PublicKey
from tunegate.ledger.chain import Head, Link, Problem, faults, link_faults, record_name, well_formed
from tunegate.ledger.lineage import Lineage
from tunegate.ledger.seal import Sealed, read_seal

SEALS = ("CheckpointSigned", "KeyRotated")


@dataclass(frozen=True)
class Anchor:
    """A checkpoint that was kept outside the cluster; ``name`` says where."""

    name: str
    text: str


@dataclass(frozen=True)
class Report:
    """What was found. ``proven`` is the last record that a signature covers with nothing wrong up to it, with the time of
    the signature; ``unsigned`` is how many records follow beside the checkpoint itself.
    """

    problems: tuple[Problem, ...]
    records: int
    head: Head | None
    proven: Link | None
    unsigned: int
    signers: tuple[PublicKey, ...]
    """Keys in force, oldest first, as the records name them."""


def verify(
    objects: Iterable[Mapping[str, Any]],
    *,
    keys: Sequence[PublicKey] = (),
    anchors: Sequence[Anchor] = (),
    noted: Head | None = None,
    note: Callable[[Mapping[str, Any]], None] | None = None,
) -> Report:
    """Check AuditRecord objects in ascending order (``ordered`` sorts a listing), each looked at once.

    ``keys`` are the reader's own public keys, ``noted`` a head that was written down earlier; ``note`` is shown the spec
    of each well-formed record.
    """
    walk = _Walk(noted, note)
    for obj in objects:
        walk.step(obj)
    strangers = walk.lineage.strangers(keys, walk.last)
    contradictions, before = _against_anchors(walk, keys, anchors)
    proven = walk.proven_until(before) if keys and not strangers else None
    return Report(
        problems=(*walk.problems, *strangers, *contradictions, *walk.noted_problems()),
        records=walk.count,
        head=Head(walk.last.sequence, walk.last.hash) if walk.last is not None else None,
        proven=proven,
        unsigned=walk.count - (proven.sequence + 1 if proven is not None else 0),
        signers=tuple(walk.lineage.keys.values()),
    )


def ordered(objects: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a listing of the API server, which promises no order, by sequence; what has none comes first."""

    def sequence(obj: Mapping[str, Any]) -> int:
        spec = obj.get("spec")
        found = spec.get("sequence") if isinstance(spec, dict) else None
        return found if isinstance(found, int) else 0

    return sorted(objects, key=sequence)


class _Walk:
    """One pass over the records; what it keeps grows by the event ids and the checkpoints only."""

    def __init__(self, noted: Head | None, note: Callable[[Mapping[str, Any]], None] | None) -> None:
        self.problems: list[Problem] = []
        self.count = 0
        self.last: Link | None = None
        self.lineage = Lineage()
        self.seals: dict[int, Sealed] = {}
        self._proven = 0
        self._events: dict[str, int] = {}
        self._note = note
        self._noted = noted
        self._noted_hash: str | None = None

    def step(self, obj: Mapping[str, Any]) -> None:
        """Look at the next record."""
        self.count += 1
        try:
            spec = well_formed(obj)
        except ValueError as error:
            self.problems.append(Problem(_name_of(obj), str(error)))
            return
        if self._note is not None:
            self._note(spec)
        sequence = spec["sequence"]
        found = faults(obj) + link_faults(spec, self.last)
        if sequence == 1:
            self.lineage.begin(spec["hash"])
        first = self._events.setdefault(spec["eventId"], sequence)
        if first != sequence:
            found.append(f"records the same event as {record_name(first)}")
        link = Link(sequence, spec["hash"], spec["time"])
        if spec["type"] in SEALS:
            found += self._seal(spec)
        if self._noted is not None and sequence == self._noted.sequence:
            self._noted_hash = spec["hash"]
        if found:
            self.problems += [Problem(record_name(sequence), message, spec["time"]) for message in found]
        if spec["type"] in SEALS and not self.problems:
            self._proven = sequence - 1
        if self.last is None or sequence > self.last.sequence:
            self.last = link

    def _seal(self, spec: Mapping[str, Any]) -> list[str]:
        found, sealed = self.lineage.look(spec)
        if sealed is not None and not found:
            self.seals[sealed.content["size"]] = sealed
        return found

    def proven_until(self, before: int | None) -> Link | None:
        """Return the last record that is signed with nothing wrong up to it, below ``before`` where that is given."""
        good = [size for size in self.seals if size <= self._proven and (before is None or size < before)]
        return self.seals[max(good)].covers if good else None

    def noted_problems(self) -> list[Problem]:
        """Return what contradicts the head that was written down."""
        noted = self._noted
        if noted is None or self._noted_hash == noted.hash:
            return []
        if self._noted_hash is None:
            return [Problem("ledger", f"record {noted.sequence} of the noted head is missing: the tail was cut off")]
        return [Problem("ledger", f"record {noted.sequence} has another hash than the noted head")]


def _against_anchors(
    walk: _Walk, keys: Sequence[PublicKey], anchors: Sequence[Anchor]
) -> tuple[list[Problem], int | None]:
    """Return what ledger and anchors do not agree on, and the least size that an anchor disproves.

    Each anchor must stand in the ledger, byte for byte.
    """
    trusted = walk.lineage.trusted(keys)
    found: list[Problem] = []
    readable: list[tuple[int, str, Sealed]] = []
    for anchor in anchors:
        try:
            sealed = read_seal(anchor.text)
        except ValueError as error:
            found.append(Problem(anchor.name, f"{error}. The anchor itself was changed"))
            continue
        readable.append((sealed.content["size"], anchor.name, sealed))
    agreed: Link | None = None
    disproven: int | None = None
    for size, name, sealed in sorted(readable, key=lambda one: one[:2]):
        held = walk.seals.get(size)
        if held is not None and held.text == sealed.text:
            agreed = held.covers
        elif keys and not any(key.signed(sealed.envelope) for key in trusted):
            says = "is not signed by a given key: the anchor itself was changed, or is another ledger's"
            found.append(Problem(name, says))
        else:
            found.append(Problem(name, _contradiction(size, sealed, walk.last, agreed)))
            disproven = size if disproven is None else disproven
    return found, disproven


def _contradiction(size: int, sealed: Sealed, last: Link | None, agreed: Link | None) -> str:
    when = f"at {sealed.content['ts']} the ledger held {size} records and this checkpoint"
    since = f"after {record_name(agreed.sequence)} ({agreed.time})" if agreed is not None else "at any place before it"
    held = last.sequence if last is not None else 0
    if held <= size:
        return (
            f"{when}; now it ends at record {held}: its tail was cut off or it was rolled back to an older state, "
            f"unless these records were exported before the anchor was made"
        )
    return f"{when}; now it holds another: records were changed, taken away or written anew, {since}"


def _name_of(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    return str(metadata.get("name", "?"))[:80] if isinstance(metadata, dict) else "?"
