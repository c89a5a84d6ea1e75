"""Which key was in force at which record: signed statements in the order of the records, each bound to its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.digests import canonical_plain
from tunegate.keys import PublicKey
from tunegate.ledger.chain import Link, Problem, record_name
from tunegate.ledger.epoch import epoch_statement, read_epoch
from tunegate.ledger.seal import Sealed, ledger_id, read_seal, rotation, sealing_entry, statement

FIELDS = {
    "CheckpointSigned": {"envelope", "publicKey"}, "KeyRotated": {"envelope"},
    "EpochStarted": {"envelope", "publicKey", "anchor"},
}  # fmt: skip
"""What the payload of each signed record holds."""


class KeyHistory:
    """The keys of a ledger, each vouched for by the one before it and by the one after it.

    A rotation is signed by both keys over the head at its place. So any one of the keys, given by the reader, proves all
    others, and a key that was stolen after it went cannot sign history again for a reader who has a newer one.
    """

    def __init__(self) -> None:
        self.keys: dict[str, PublicKey] = {}
        self.in_force: PublicKey | None = None
        self._ledger = ""

    def look(self, spec: Mapping[str, Any]) -> tuple[list[str], Sealed | None]:
        """Return what is wrong with a record that holds a signed statement, and the statement if it can be read."""
        payload = spec["payload"]
        try:
            sealed = read_seal(payload.get("envelope", ""))
            keys: tuple[PublicKey, ...]
            if spec["type"] == "KeyRotated":
                keys = (_key(sealed.content.get("previousKey")), _key(sealed.content.get("nextKey")))
            else:
                keys = (_key(payload.get("publicKey")),)
            wanted = self._statement(spec, sealed, keys)
        except ValueError as error:
            return [str(error)], None
        found = _wrong_statement(wanted, sealed) or self._wrong_entry(spec) or self._wrong_signers(sealed, keys)
        if not found:
            self.in_force = keys[-1]
            self.keys.update((key.id, key) for key in keys)
        return found, sealed

    def begin(self, first_hash: str) -> None:
        """Take the ledger's name from its first record."""
        self._ledger = ledger_id(first_hash)

    def _wrong_entry(self, spec: Mapping[str, Any]) -> list[str]:
        entry = sealing_entry(spec["type"], self._ledger, spec["previousHash"], spec["payload"])
        fields = FIELDS[spec["type"]]
        subject = {"kind": entry.subject.kind, "namespace": "", "name": entry.subject.name, "uid": entry.subject.uid}
        same = (spec["actor"], spec["eventId"], spec["subject"]) == (entry.actor, entry.event_id, subject)
        return [] if same and spec["payload"].keys() == fields else ["is not as the operator writes such a record"]

    def _statement(self, spec: Mapping[str, Any], sealed: Sealed, keys: Sequence[PublicKey]) -> dict[str, Any]:
        """Return what the statement must say: exactly the place in the chain at which it stands. Raises ``ValueError``."""
        wanted = statement(self._ledger, spec["sequence"] - 1, spec["previousHash"], spec["time"])
        if spec["type"] == "KeyRotated":
            return rotation(wanted, keys[0], keys[1])
        if spec["type"] == "EpochStarted":
            anchor = spec["payload"].get("anchor")
            epoch = read_epoch(sealed, anchor)
            return epoch_statement(
                wanted, anchor=anchor, lost_to=epoch.lost_to, reason=epoch.reason, started_by=epoch.started_by
            )
        return wanted

    def _wrong_signers(self, sealed: Sealed, keys: Sequence[PublicKey]) -> list[str]:
        if sealed.key_ids != tuple(key.id for key in keys):
            return ["the envelope names another key than the one that stands beside it"]
        if self.in_force is not None and keys[0].id != self.in_force.id:
            return [f"signed by key {keys[0].id}, while key {self.in_force.id} was in force: forged"]
        if not all(key.signed(sealed.envelope) for key in keys):
            return ["the signature does not fit: the statement or the signature was changed"]
        return []

    def trusted(self, given: Sequence[PublicKey]) -> list[PublicKey]:
        """Return the keys that the reader gave, and those that a given one vouches for."""
        ids = {key.id for key in given}
        return [*given, *(key for key in self.keys.values() if ids & self.keys.keys() and key.id not in ids)]

    def strangers(self, given: Sequence[PublicKey], last: Link | None) -> list[Problem]:
        """Return what is wrong between the reader's keys and the ledger's: each given key must have been in force."""
        if not given:
            return []
        if not self.keys:
            where = f" up to {record_name(last.sequence)}" if last is not None else ""
            return [Problem("ledger", f"no checkpoint{where} is signed: nothing shows that the operator wrote this")]
        return [
            Problem("ledger", f"the given key {key.id} signed nothing here; the records name {', '.join(self.keys)}: "
                              "they are forged, rolled back, or another ledger's")
            for key in given if key.id not in self.keys
        ]  # fmt: skip


def _wrong_statement(wanted: Mapping[str, Any], sealed: Sealed) -> list[str]:
    if sealed.envelope.payload == canonical_plain(wanted):
        return []
    return [
        f"signed for another history: it states {sealed.content['size']} records at {sealed.content['ts']} with head "
        f"{sealed.content.get('head')}"
    ]


def _key(pem: object) -> PublicKey:
    if not isinstance(pem, str):
        raise ValueError("lacks a public key")
    key = PublicKey.from_pem(pem.encode())
    if key.pem != pem:
        raise ValueError("its public key is not in the usual form")
    return key
