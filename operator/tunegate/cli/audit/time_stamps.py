"""Time stamps beside the checkpoints of anchors, checked with certificates that the auditor gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.x509 import Certificate

from tunegate.api.conditions import rfc3339
from tunegate.cli.failure import CommandFailure
from tunegate.ledger.anchors.places import PREFIX, STAMP, SUFFIX
from tunegate.ledger.anchors.timestamps import read_chain, read_stamp
from tunegate.ledger.chain import Problem
from tunegate.ledger.seal import read_seal
from tunegate.regular_files import read_regular

SKEW = timedelta(minutes=5)
"""By so much the clocks of operator and authority may differ."""


@dataclass(frozen=True)
class Stamped:
    """A checkpoint that an authority had seen at ``time``."""

    size: int
    time: datetime

    def __str__(self) -> str:
        return f"{self.size} records existed at {rfc3339(self.time)}"


def check(folders: Iterable[str], certificates: Iterable[str]) -> tuple[list[Stamped], list[Problem]]:
    """Return the checkpoints that are stamped, and what is wrong with stamps. Raises ``CommandFailure``."""
    roots = _roots(certificates)
    if not roots:
        return [], []
    tokens = [path for folder in folders for path in sorted(Path(folder).rglob(f"{PREFIX}*{STAMP}"))]
    if not tokens:
        raise CommandFailure(f"--tsa-certificate needs --anchors with a folder that holds files {PREFIX}*{STAMP}")
    good, bad = [], []
    for path in tokens:
        try:
            good.append(_stamped(path, roots))
        except (OSError, ValueError) as error:
            bad.append(Problem(path.name, f"{error}"))
    return good, bad


def _stamped(token: Path, roots: list[Certificate]) -> Stamped:
    """Check one token against the checkpoint of its name. Raises ``OSError``, or ``ValueError`` saying what is wrong."""
    checkpoint = token.with_suffix(SUFFIX)
    if not checkpoint.exists():
        raise ValueError(f"no checkpoint {checkpoint.name} beside it")
    data = read_regular(checkpoint)
    stamp = read_stamp(read_regular(token), data, roots)
    content = read_seal(data.decode()).content
    if stamp.time + SKEW < datetime.fromisoformat(content["ts"]):
        raise ValueError(
            f"was stamped at {rfc3339(stamp.time)}, but the checkpoint says {content['ts']}: the operator's clock was wrong"
        )
    return Stamped(content["size"], stamp.time)


def _roots(paths: Iterable[str]) -> list[Certificate]:
    found = []
    for path in paths:
        try:
            found += read_chain(read_regular(Path(path)))
        except (OSError, ValueError) as error:
            raise CommandFailure(f"--tsa-certificate {path}: {error}") from error
    return found
