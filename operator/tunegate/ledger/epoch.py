"""A new epoch of the ledger: after etcd was restored from a backup, a signed record says what was lost, and the chain goes on.

Without that record the anchors would contradict the ledger forever. With it they are explained: a checkpoint is one of the
lost branch when it covers as much as was kept, or more, and is not newer than the newest that was known when the epoch began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.digests import sha256
from tunegate.ledger.chain import record_name
from tunegate.ledger.seal import Sealed, read_seal

MOST_BYTES = 400
"""Of name and reason: the statement must fit into one field of a record."""


@dataclass(frozen=True)
class Epoch:
    """What its first record says."""

    kept: int
    """Records that were left."""
    lost_to: int
    """Records that the largest lost checkpoint covers."""
    newest: str
    """Time of the newest lost checkpoint."""
    time: str
    reason: str
    started_by: str

    def lost(self, sealed: Sealed) -> bool:
        """Tell whether a checkpoint is one of those that were lost."""
        return bool(sealed.content["size"] >= self.kept and sealed.content["ts"] <= self.newest)

    def __str__(self) -> str:
        return (
            f"at {self.time} the ledger was found restored to {record_name(self.kept)}. Lost are {record_name(self.kept + 1)} "
            f"to {record_name(self.lost_to + 1)} and what came after them, as known from checkpoints until {self.newest}. "
            f"Its numbers were used again. Reason, by {self.started_by}: {self.reason}"
        )


def epoch_statement(
    content: Mapping[str, Any], *, anchor: str, lost_to: int, reason: str, started_by: str
) -> dict[str, Any]:
    """Return what the start of an epoch states beside a checkpoint; ``anchor`` is the newest lost checkpoint."""
    digest = sha256(anchor.encode())
    return {**content, "anchor": digest, "lostTo": lost_to, "reason": reason, "startedBy": started_by}


def read_epoch(sealed: Sealed, anchor: object) -> Epoch:
    """Read what a record of type EpochStarted states. Raises ``ValueError``."""
    content = sealed.content
    texts = [content.get(name) for name in ("anchor", "reason", "startedBy")]
    if not isinstance(anchor, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError("states no lost checkpoint, reason and person")
    newest, lost_to = read_seal(anchor).content, content.get("lostTo")
    if sha256(anchor.encode()) != texts[0] or newest.get("ledgerId") != content.get("ledgerId"):
        raise ValueError("the lost checkpoint beside it is another than it states")
    if content["ts"] <= newest["ts"]:
        raise ValueError("is older than the lost checkpoint, so it would explain later ones too")
    if type(lost_to) is not int or lost_to < newest["size"] or newest["size"] < content["size"]:
        raise ValueError("states fewer lost records than its lost checkpoint covers")
    return Epoch(content["size"], lost_to, newest["ts"], content["ts"], str(texts[1]), str(texts[2]))
