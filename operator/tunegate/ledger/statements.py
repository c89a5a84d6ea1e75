"""What the operator signs: checkpoints, the hand-over from one key to the next, the start of an epoch. Pure."""

from __future__ import annotations

from datetime import datetime

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.errors import Terminal
from tunegate.keys import PublicKey, SigningKey
from tunegate.ledger import chain
from tunegate.ledger.comparison import Comparison
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.epoch import MOST_BYTES, epoch_statement
from tunegate.ledger.seal import SEALS, KeyRing, rotation, seal, sealing_entry, statement


def checkpoint(
    keys: KeyRing, ledger: str, head: AuditRecordSpec, in_force: PublicKey | None, now: datetime
) -> AuditEntry | AuditRecordSpec:
    """Return the entry of a checkpoint over the records until ``head``, or of a rotation where another key was in force.

    ``head`` itself is returned when it already is either. Raises ``Terminal`` when the key in force is not there.
    """
    public = keys.key.public
    if head.type in SEALS and in_force == public:
        return head
    content = statement(ledger, head.sequence, head.hash, chain.next_time(head, now))
    if in_force in (None, public):
        payload = {"envelope": seal(content, [keys.key]), "publicKey": public.pem}
        return sealing_entry("CheckpointSigned", ledger, head.hash, payload)
    previous = _of(keys, in_force)
    handed = rotation(content, previous.public, public)
    return sealing_entry("KeyRotated", ledger, head.hash, {"envelope": seal(handed, [previous, keys.key])})


def epoch(
    keys: KeyRing,
    ledger: str,
    head: AuditRecordSpec,
    in_force: PublicKey | None,
    now: datetime,
    *,
    compared: Comparison,
    reason: str,
    started_by: str,
) -> AuditEntry:
    """Return the entry that begins an epoch after ``head``. Raises ``Terminal`` unless all that anchors prove is a loss."""
    if compared.unusable:
        raise Terminal("AnchorUnusable", f"an anchor cannot be used: {compared.unusable[0]}")
    lost = compared.contradictions
    if not lost:
        raise Terminal(
            "NothingLost", "no anchor knows more than the ledger holds: there is nothing to begin again from"
        )
    if any(one.sealed.content.get("ledgerId") != ledger for one in lost):
        raise Terminal(
            "LedgerBroken", f"the anchors are another ledger's, which this one does not go on from: {lost[0].problem}"
        )
    other = next((one for one in lost if not one.behind), None)
    if other is not None:
        raise Terminal("LedgerBroken", f"this is no restored backup but another history: {other.problem}")
    if not reason.strip() or not started_by.strip() or len((reason + started_by).encode()) > MOST_BYTES:
        raise Terminal("BadReason", f"name and reason must not be empty and have at most {MOST_BYTES} bytes together")
    newest = max(lost, key=lambda one: (str(one.sealed.content["ts"]), one.size))
    ts = chain.next_time(head, now)
    if ts <= newest.sealed.content["ts"]:
        raise Terminal(
            "ClockBehind",
            f"it is {ts} here, but the newest lost checkpoint is of {newest.sealed.content['ts']}: put the clock right",
        )
    content = epoch_statement(
        statement(ledger, head.sequence, head.hash, ts),
        anchor=newest.sealed.text, lost_to=max(one.size for one in lost), reason=reason, started_by=started_by,
    )  # fmt: skip
    key = keys.key if in_force is None else _of(keys, in_force)
    payload = {"envelope": seal(content, [key]), "publicKey": key.public.pem, "anchor": newest.sealed.text}
    return sealing_entry("EpochStarted", ledger, head.hash, payload)


def _of(keys: KeyRing, wanted: PublicKey | None) -> SigningKey:
    """Return the private half of the key in force."""
    for key in (keys.key, keys.previous):
        if key is not None and key.public == wanted:
            return key
    name = wanted.id if wanted is not None else "?"
    raise Terminal(
        "LedgerKeyUnknown",
        f"the ledger was last signed by key {name}, the operator now has {keys.key.public.id}: add the old key to its "
        "Secret as previous.pem, so that it can hand over",
    )
