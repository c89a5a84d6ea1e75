"""Signed statements about the ledger: who holds the key says what the chain was at a time.

A checkpoint states ledger, size, head and time; a rotation also the public key that goes and the one that comes, and is
signed by both; the start of an epoch also what was lost (``tunegate.ledger.epoch``). The envelope is DSSE (https://github.com/secure-systems-lab/dsse), so that other tools can verify it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error

from tunegate.digests import canonical_plain
from tunegate.keys import PublicKey, SigningKey
from tunegate.ledger.chain import Link, record_name
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.strict_json import strict_json

SealType = Literal["CheckpointSigned", "KeyRotated", "EpochStarted"]
SEALS = get_args(SealType)
"""Types of records that hold a signed statement about the chain before them."""

PAYLOAD_TYPE = "application/vnd.tunegate.ledger-checkpoint+json"
KEY_FILE = "key.pem"
PREVIOUS_KEY_FILE = "previous.pem"


@dataclass(frozen=True)
class KeyRing:
    """The operator's keys: the one that signs ledger and evidence and, for a rotation, the one before it."""

    key: SigningKey
    previous: SigningKey | None = None

    @property
    def publics(self) -> tuple[PublicKey, ...]:
        """The public halves."""
        return (self.key.public,) if self.previous is None else (self.key.public, self.previous.public)

    @classmethod
    def from_folder(cls, folder: Path) -> KeyRing:
        """Read `key.pem` and, where there is one, `previous.pem`. Raises ``OSError`` or ``ValueError``."""
        key, previous = SigningKey.from_file(folder / KEY_FILE), folder / PREVIOUS_KEY_FILE
        if not key.public.of_a_curve:
            raise ValueError(
                f"{folder / KEY_FILE}: an Ed25519 key; it must be an ECDSA P-256 key, since the verifiers of signed models "
                "know no other. An Ed25519 key can still hand over, as previous.pem"
            )
        return cls(key, SigningKey.from_file(previous) if previous.exists() else None)


def ledger_id(first_hash: str) -> str:
    """Return the ledger's name: the first 32 hex digits of the first record's hash, so that nobody chooses it."""
    return first_hash.removeprefix("sha256:")[:32]


def statement(ledger: str, size: int, head: str, ts: str) -> dict[str, Any]:
    """Return what a checkpoint states: after ``size`` records the head was ``head``, at ``ts`` (RFC 3339, UTC)."""
    return {"ledgerId": ledger, "size": size, "head": head, "ts": ts}


def rotation(content: Mapping[str, Any], previous: PublicKey, following: PublicKey) -> dict[str, Any]:
    """Return what a change of keys states beside that."""
    return {**content, "previousKey": previous.pem, "nextKey": following.pem}


def sealing_entry(type_: SealType, ledger: str, head: str, payload: Mapping[str, str]) -> AuditEntry:
    """Return the entry of a signed statement. Nothing in it is free: whoever verifies makes it again and compares."""
    return AuditEntry(type_, OPERATOR, AuditSubject("AuditRecord", "", record_name(1), ledger), head, payload)


def seal(content: Mapping[str, Any], keys: Sequence[SigningKey]) -> str:
    """Return the signed statement as the canonical JSON of its envelope."""
    envelope = Envelope(canonical_plain(dict(content)), PAYLOAD_TYPE, {})
    for key in keys:
        key.sign(envelope)
    return canonical_plain(envelope.to_dict()).decode()


@dataclass(frozen=True)
class Sealed:
    """An envelope as it was read; nothing in it is proven before a key of the reader ``signed`` it."""

    text: str
    envelope: Envelope
    content: Mapping[str, Any]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Who claims to have signed, in order."""
        return tuple(self.envelope.signatures)

    @property
    def covers(self) -> Link:
        """The last record that it speaks of, with the time of the statement."""
        return Link(self.content["size"], str(self.content.get("head")), self.content["ts"])


def read_seal(text: str) -> Sealed:
    """Read an envelope that ``seal`` wrote, byte for byte. Raises ``ValueError``."""
    try:
        document = strict_json(text)
        envelope = Envelope.from_dict(document)
        if canonical_plain(envelope.to_dict()).decode() != text:
            raise ValueError("not in canonical form")
        content = strict_json(envelope.payload.decode())
    except (ValueError, KeyError, TypeError, AttributeError, Error) as error:
        raise ValueError(f"not a signed checkpoint: {type(error).__name__}") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"not a signed checkpoint: its payload type must be {PAYLOAD_TYPE}")
    if not isinstance(content, dict) or type(content.get("size")) is not int or type(content.get("ts")) is not str:
        raise ValueError("not a signed checkpoint: it states no size and time")
    return Sealed(text, envelope, content)
