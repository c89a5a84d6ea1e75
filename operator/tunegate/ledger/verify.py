"""Is a ledger what the operator wrote? Pure: records, public keys and anchors come in, a report in plain words goes out.

What each means: the chain shows edits, gaps and order; a checkpoint, signed, shows that whoever made the chain again had no
key; an anchor, a checkpoint that was kept elsewhere, shows that the ledger once was longer or other. No key that comes
with the records is trusted: it only helps to name the one that should be given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.keys import PublicKey
from tunegate.ledger.chain import Head, Link, Problem, faults, later_form, link_faults, record_name, well_formed
from tunegate.ledger.comparison import Anchor, Comparison, Known, compare
from tunegate.ledger.epoch import Epoch, read_epoch
from tunegate.ledger.key_history import KeyHistory
from tunegate.ledger.seal import SEALS, Sealed


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
    epochs: tuple[Epoch, ...]
    """What was lost when the cluster's store was restored, as the records say."""
    later: Mapping[str, int] = field(default_factory=dict)
    """What a newer version wrote and this one does not know, and in how many records: they are whole, and mean nothing here."""


def verify(
    objects: Iterable[Mapping[str, Any]],
    *,
    keys: Sequence[PublicKey] = (),
    anchors: Sequence[Anchor] = (),
    noted: Head | None = None,
    note: Callable[[Mapping[str, Any]], None] | None = None,
) -> Report:
    """Check AuditRecord objects in ascending order (``tunegate.ledger.sequence`` sorts a listing), each looked at once.

    ``keys`` are the reader's own public keys, ``noted`` a head that was written down earlier; ``note`` is shown the spec
    of each well-formed record.
    """
    verification = Verification(noted, note)
    for obj in objects:
        verification.look(obj)
    return verification.report(keys, anchors)


class Verification:
    """One pass over the records, in their order; what it keeps grows by the event ids and the checkpoints only."""

    def __init__(self, noted: Head | None = None, note: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self.problems: list[Problem] = []
        self.count = 0
        self.last: Link | None = None
        self.key_history = KeyHistory()
        self.seals: dict[int, Sealed] = {}
        self.epochs: list[Epoch] = []
        self.later: Counter[str] = Counter()
        self._proven = 0
        self._events: dict[bytes, int] = {}
        self._note = note
        self._noted = noted
        self._noted_hash: str | None = None

    def look(self, obj: Mapping[str, Any]) -> dict[str, Any] | None:
        """Look at the next record and return its spec, None for what is no record."""
        self.count += 1
        try:
            spec = well_formed(obj)
        except ValueError as error:
            self.problems.append(Problem(_name_of(obj), str(error)))
            return None
        if self._note is not None:
            self._note(spec)
        if later := later_form(spec):
            self.later[later] += 1
        sequence = spec["sequence"]
        found = faults(obj) + link_faults(spec, self.last)
        if sequence == 1:
            self.key_history.begin(spec["hash"])
        first = self._events.setdefault(_short(spec["eventId"]), sequence)
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
        return spec

    def _seal(self, spec: Mapping[str, Any]) -> list[str]:
        found, sealed = self.key_history.look(spec)
        if sealed is not None and not found:
            self.seals[sealed.content["size"]] = sealed
            if spec["type"] == "EpochStarted":
                self.epochs.append(read_epoch(sealed, spec["payload"]["anchor"]))
        return found

    def place_of(self, event_id: str) -> int | None:
        """Return the sequence of the record of an event."""
        return self._events.get(_short(event_id))

    def compare(self, keys: Sequence[PublicKey], anchors: Sequence[Anchor]) -> Comparison:
        """Compare what was seen so far with checkpoints that were kept elsewhere."""
        return compare(Known(self.key_history, self.seals, self.epochs, self.last), keys, anchors)

    def report(self, keys: Sequence[PublicKey], anchors: Sequence[Anchor]) -> Report:
        """Return what was found."""
        strangers = self.key_history.strangers(keys, self.last)
        compared = self.compare(keys, anchors)
        before = min((one.size for one in compared.contradictions), default=None)
        proven = self._proven_until(before) if keys and not strangers else None
        return Report(
            problems=(*self.problems, *strangers, *compared.problems, *self._noted_problems()),
            records=self.count,
            head=Head(self.last.sequence, self.last.hash) if self.last is not None else None,
            proven=proven,
            unsigned=self.count - (proven.sequence + 1 if proven is not None else 0),
            signers=tuple(self.key_history.keys.values()),
            epochs=tuple(self.epochs),
            later=dict(self.later),
        )

    def _proven_until(self, before: int | None) -> Link | None:
        """Return the last record that is signed with nothing wrong up to it, below ``before`` where that is given."""
        good = [size for size in self.seals if size <= self._proven and (before is None or size < before)]
        return self.seals[max(good)].covers if good else None

    def _noted_problems(self) -> list[Problem]:
        """Return what contradicts the head that was written down."""
        noted = self._noted
        if noted is None or self._noted_hash == noted.hash:
            return []
        if self._noted_hash is None:
            return [Problem("ledger", f"record {noted.sequence} of the noted head is missing: the tail was cut off")]
        return [Problem("ledger", f"record {noted.sequence} has another hash than the noted head")]


def _short(event_id: str) -> bytes:
    """Return a digest in a quarter of the memory."""
    return bytes.fromhex(event_id[7:])


def _name_of(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    return str(metadata.get("name", "?"))[:80] if isinstance(metadata, dict) else "?"
