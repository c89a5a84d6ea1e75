"""Signed decisions: what an approver signs with a key of their own, and whether a signature holds. Pure.

The API server vouches for who created an Approval; whoever rules the cluster can say otherwise. A signature is made
outside the cluster, so it is verified without believing anybody in it. What is signed is made of the Approval alone and
compared byte for byte: nothing in an envelope is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error

from tunegate import intoto
from tunegate.api.approval import Approval, DropReason, SignedStatement
from tunegate.api.approvalpolicy import ApprovalRole, Signer
from tunegate.keys import ALLOWED, PublicKey, Signing

PREDICATE_TYPE = "https://tunegate.io/approval/v1alpha1"


def statement(approval: Approval) -> dict[str, Any]:
    """Return the in-toto statement of a decision (https://github.com/in-toto/attestation/blob/main/spec/v1).

    Neither name nor time of the Approval is in it, which the API server chooses later. A copy of a signed decision
    changes nothing: a person counts once, and what they withdrew stays withdrawn.
    """
    spec, subject = approval.spec, approval.spec.subject_ref
    return intoto.statement(
        [intoto.named(f"{subject.kind}/{approval.namespace}/{subject.name}", spec.subject_digest)],
        PREDICATE_TYPE,
        {
            "subjectRef": {
                "kind": subject.kind,
                "namespace": approval.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
            "role": spec.role,
            "decision": spec.decision,
            "reason": spec.reason,
            "approver": {"username": spec.approver.username}
            | ({"personId": spec.approver.person_id} if spec.approver.person_id else {}),
            "expirationTime": spec.expiration_time,
        },
    )


def sign(approval: Approval, key: Signing) -> SignedStatement:
    """Return the decision signed with ``key``, for ``spec.signature``."""
    envelope = intoto.unsigned(statement(approval))
    key.sign(envelope)
    return SignedStatement.model_validate(envelope.to_dict())


def signed_by(approval: Approval, keys: Iterable[PublicKey]) -> PublicKey | None:
    """Return the one of ``keys`` that signed exactly this decision, None when none did."""
    envelope = _envelope(approval)
    if envelope is None or envelope.payload != intoto.unsigned(statement(approval)).payload:
        return None
    return next((key for key in keys if key.signed(envelope)), None)


def signature_fault(approval: Approval, roles: Sequence[ApprovalRole]) -> tuple[DropReason, str] | None:
    """Return why an approval is not signed as its role asks; None where it is, or where the role asks for nothing."""
    spec, person = approval.spec, approval.spec.approver.username
    signers = next((role.signers for role in roles if role.name == spec.role), None)
    if signers is None:
        return None
    if spec.signature is None:
        return "NotSigned", f"role {spec.role} needs a signature: approve again with `tunegate approve --key`"
    bound = [signer for signer in signers if signer.username == person]
    if not bound:
        return "BadSignature", f"the policy has no key of {person} for role {spec.role}"
    keys = [key for key in map(_key, bound) if key is not None]
    if not keys:
        return "BadSignature", f"the policy's key of {person} is not {ALLOWED}: ask the policy's owner to correct it"
    if signed_by(approval, keys) is not None:
        return None
    named = spec.signature.signatures[0].keyid
    if named not in {key.id for key in keys}:
        return "BadSignature", f"signed with key {named[:16]}…, which the policy does not have for {person}"
    return (
        "BadSignature",
        f"key {named[:16]}… of {person} did not sign this: the signature is of another decision, or no signature",
    )


def unreadable(roles: Iterable[ApprovalRole]) -> tuple[str, ...]:
    """Return `user name (role)` of each signer whose key is none."""
    signers = ((role, signer) for role in roles for signer in role.signers or ())
    return tuple(f"{signer.username} ({role.name})" for role, signer in signers if _key(signer) is None)


def _envelope(approval: Approval) -> Envelope | None:
    """Return the envelope, if there is one in its only form: what is read in two ways must not be verified."""
    stated = approval.spec.signature
    if stated is None:
        return None
    try:
        envelope = Envelope.from_dict(stated.to_dict())
    except (ValueError, KeyError, Error):
        return None
    return envelope if envelope.to_dict() == stated.to_dict() else None


def _key(signer: Signer) -> PublicKey | None:
    try:
        return PublicKey.from_pem(signer.public_key.encode())
    except ValueError:
        return None
