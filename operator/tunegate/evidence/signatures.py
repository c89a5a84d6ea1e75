"""Compares signatures of decisions with keys that the reader holds, so that nobody in the cluster has to be believed.

Anyone who rules the cluster can write an approval in another person's name, with a policy and a ledger that fit: the whole
folder then agrees with itself. They lack the approver's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunegate.api.approval import Approval
from tunegate.api.shared import Person
from tunegate.evidence import layout
from tunegate.evidence.story import GRANTS, Difference, Story
from tunegate.keys import PublicKey
from tunegate.release.signature import signed_by

Keys = Mapping[str, Sequence[PublicKey]]
"""The reader's keys, by user name or person-id of the approver."""


@dataclass(frozen=True)
class Checked:
    """A decision, and the reader's key of its approver that signed it; None: none did."""

    approval: Approval
    key: PublicKey | None


def check(story: Story, keys: Keys) -> tuple[tuple[Checked, ...], list[Difference]]:
    """Return for every decision who signed it, and those that were counted although the reader's keys do not prove them."""
    counted = {
        uid for one in story.records if one.type in GRANTS for uid in one.payload.get("approvals", "").split(",")
    }
    checked = tuple(Checked(one, signed_by(one, _of(one.spec.approver, keys))) for one in story.approvals)
    return checked, [
        Difference(layout.APPROVALS, f"{one.approval.name} was counted, but {_missing(one.approval, keys)}")
        for one in checked
        if one.key is None and one.approval.uid in counted
    ]


def _of(person: Person, keys: Keys) -> list[PublicKey]:
    """Return the keys of a person. Both names are part of what is signed."""
    names = (person.username, person.person_id) if person.person_id else (person.username,)
    return [key for name in names for key in keys.get(name, ())]


def _missing(approval: Approval, keys: Keys) -> str:
    person, stated = approval.spec.approver.username, approval.spec.signature
    if stated is None:
        return f"{person} did not sign it"
    if not _of(approval.spec.approver, keys):
        return f"you gave no key of {person}"
    return f"no key that you gave of {person} signed it; it names key {stated.signatures[0].keyid}"
