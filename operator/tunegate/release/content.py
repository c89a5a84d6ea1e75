"""What a decision says, as one digest: the ledger holds it, so that an Approval that was swapped later shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.api.approval import Approval
from tunegate.digests import canonical_plain, sha256

FORM = "tunegate.io/approval/v1"


def recorded_of(approval: Approval) -> dict[str, str]:
    """Return what the ledger holds of a decision, and what it is compared with later."""
    return {
        "approval": approval.uid,
        "name": approval.name,
        "creationTime": str(approval.metadata["creationTimestamp"]),
        "content": approval_digest(approval),
    }


def is_recorded(approval: Approval, payload: Mapping[str, Any], namespace: str) -> bool:
    """Tell whether a decision is the one of a record's ``payload``, made in the ``namespace`` of the record's subject."""
    return recorded_of(approval).items() <= payload.items() and approval.namespace == namespace


def approval_digest(approval: Approval) -> str:
    """Return the digest of a decision. Fields are named one by one: a field that a later version adds changes nothing."""
    spec = approval.spec
    person = spec.approver
    human = [person.person_id or "", person.auth_time or ""]
    signed = {} if spec.signature is None else {"signature": spec.signature.to_dict()}
    content = canonical_plain({
        "form": FORM,
        "subject": [spec.subject_ref.kind, spec.subject_ref.name, spec.subject_ref.uid],
        "digest": spec.subject_digest,
        "role": spec.role,
        "decision": spec.decision,
        "reason": spec.reason,
        "approver": [person.username, person.uid or "", *person.groups],
        "expirationTime": spec.expiration_time,
        **({"human": human} if any(human) else {}),
        **signed,
    })  # fmt: skip
    return sha256(content)
