"""`audit powers`: who could get around the rules at a time, by the ledger alone. The operator looks now and then only:
what came and went between two looks, the API server's audit log knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console

from tunegate.cli import at_time, screen
from tunegate.cli.failure import CommandFailure
from tunegate.ledger.verify import verify
from tunegate.rbac.holders import EVENT, in_words, replayed

Spec = Mapping[str, Any]


def powers(records: Iterable[Mapping[str, Any]], moment: datetime) -> int:
    """Print who held which power over each installation, and which changes may have come before that moment or after it."""
    looks: dict[str, list[Spec]] = {}

    def note(spec: Spec) -> None:
        if spec["type"] == EVENT:
            looks.setdefault(str(spec["subject"]["namespace"]), []).append(dict(spec))

    report = verify(records, note=note)
    if report.problems:
        raise CommandFailure(f"the ledger is broken ({len(report.problems)} problems, see tunegate audit verify)")
    known = {system: at_time.before(specs, moment) for system, specs in looks.items()}
    if not any(known.values()):
        raise CommandFailure(f"by the ledger nobody looked who held which power before {moment.isoformat()}")
    out = screen.console()
    for system, before in known.items():
        if before:
            _tell(out, system, before, looks[system][len(before) :], moment)
    return 0


def _tell(out: Console, system: str, before: Sequence[Spec], later: Sequence[Spec], moment: datetime) -> None:
    screen.heading(out, f"Powers over Tunegate in {system}")
    held = sorted(replayed(before).items())
    screen.table(out, ("COULD", "WHO"), [(power, ", ".join(sorted(names)) or "nobody") for power, names in held])
    for spec in later:
        since = str(spec["payload"].get("since", ""))
        if since and datetime.fromisoformat(since) <= moment:
            words = screen.shown(in_words(spec["payload"]))
            out.print(f"changed between {since} and {spec['time']}, perhaps before that moment: {words}")
