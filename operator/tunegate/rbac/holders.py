"""Who holds which power, as plain text that the ledger can keep; and what changed since another time. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.api.auditrecord import EventType
from tunegate.digests import sha256
from tunegate.ledger.entry import AuditSubject
from tunegate.rbac import duties, powers
from tunegate.rbac.rights import Rights, Subject

Holders = Mapping[str, frozenset[str]]
"""Names of those who hold a power or two duties, by its name."""
ADMINISTRATORS = "do everything"
EVENT: EventType = "PowersChanged"
NOBODY: frozenset[str] = frozenset()
ROOM = 2000
"""Of one value of a record's payload."""
LONGEST = 200


def subject_of(namespace: str) -> AuditSubject:
    """Return the ledger's subject for the powers over the chart that is installed in ``namespace``."""
    return AuditSubject("ClusterRoleBinding", namespace, "tunegate", f"powers-over-{namespace}")


def holders(rights: Rights, system: str, namespaces: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return who holds each power and each pair of duties; who may do everything is named under that only."""
    found: dict[str, Iterable[Subject]] = {ADMINISTRATORS: rights.unlimited}
    found |= {power.name: powers.holders(rights, power, system) for power in powers.POWERS}
    found |= duties.overlaps(rights, namespaces)
    return {name: frozenset(map(_named, subjects)) for name, subjects in found.items()}


def payloads(before: Holders, after: Holders, since: str) -> Iterator[dict[str, str]]:
    """Yield what to record of a change, in as many parts as it takes; nothing where nothing changed.

    ``since``: the last look that still found ``before``.
    """
    left = {
        f"{what} {power}": sorted(names)
        for power in sorted({*before, *after})
        for what, names in (
            ("added", after.get(power, NOBODY) - before.get(power, NOBODY)),
            ("removed", before.get(power, NOBODY) - after.get(power, NOBODY)),
        )
    }
    while left := {key: names for key, names in left.items() if names}:
        taken = {key: names[: _fitting(names)] for key, names in left.items()}
        yield {"since": since} | {key: _text(names) for key, names in taken.items()}
        left = {key: names[len(taken[key]) :] for key, names in left.items()}


def replayed(records: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Return who held what after the last of these records, all of them about powers over one installation."""
    found: dict[str, frozenset[str]] = {}
    for record in records:
        for what, power, names in changes(record["payload"]):
            had = found.get(power, NOBODY)
            found[power] = had | set(names) if what == "added" else had - set(names)
    return found


def changes(payload: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield `added` or `removed`, the power, and who, of a record's payload.

    What cannot be read is passed over: that a record was altered is for `audit verify` to tell, and no reason to stop.
    """
    for key, text in payload.items():
        what, _, power = key.partition(" ")
        if what in ("added", "removed") and (names := _read(text)):
            yield what, power, names


def in_words(payload: Mapping[str, str]) -> str:
    """Return a record's payload as one line for people."""
    verbs = {"added": "can now", "removed": "can no longer"}
    return "; ".join(f"{', '.join(names)} {verbs[what]}: {power}" for what, power, names in changes(payload))


def _named(subject: Subject) -> str:
    """Return the subject in words; a name without end is cut, and told from others by its digest."""
    text = str(subject)
    if len(_text([text])) <= LONGEST:
        return text
    return f"{ascii(text[:60])[1:-1][:100]}… ({sha256(text.encode())})"


def _fitting(names: Sequence[str]) -> int:
    """Return how many of the names, from the first on, have room in one value."""
    count = len(names)
    while len(_text(names[:count])) > ROOM:
        count -= 1
    return count


def _read(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def _text(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)
