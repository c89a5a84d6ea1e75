"""Signed decisions: which signature makes an approval count, and what a signature is over."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.governance.test_waivers import FEW, STEWARD, WaiverWorld
from tests.support.approvers import signed, signer
from tests.support.builders import make_approval, make_approvalpolicy
from tests.support.ledgers import new_key
from tests.support.release_walk import Walk
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy, ApprovalRole
from tunegate.digests import document_digest
from tunegate.intoto import PAYLOAD_TYPE
from tunegate.keys import SigningKey
from tunegate.reconcile.catalogue.pools_policies_suites import plan_policy
from tunegate.release.content import approval_digest
from tunegate.release.signature import signature_fault, signed_by, statement

Json = dict[str, Any]
RAVI = SigningKey(generate_private_key(SECP256R1()))
EDWARDS = SigningKey(Ed25519PrivateKey.generate())
STRANGER = new_key()


def role(*signers: Json, name: str = "risk") -> ApprovalRole:
    return ApprovalRole.model_validate({"name": name, "groups": ["model-risk"], "signers": list(signers)})


def approval(key: SigningKey | None = None, **changes: Any) -> Json:
    made = make_approval(approver={"username": "ravi", "groups": ["model-risk"]}, **changes)
    return made if key is None else signed(made, key)


def fault(obj: Json, *roles: ApprovalRole) -> str | None:
    found = signature_fault(Approval.model_validate(obj), roles)
    return None if found is None else f"{found[0]}: {found[1]}"


def signing_walk(**keys: SigningKey) -> Walk:
    """Return a walk whose policy names a key of each person; cora's role asks for none."""
    walk = Walk()
    walk.world["ApprovalPolicy"]["spec"]["roles"][0]["signers"] = [
        signer(name, key.public) for name, key in keys.items()
    ]
    walk.settle()
    return walk


@pytest.mark.parametrize("key", [RAVI, EDWARDS], ids=["P-256", "Ed25519"])
def test_a_role_with_signers_counts_signed_approvals_only(key: SigningKey) -> None:
    walk = signing_walk(ravi=key)
    walk.decide("cora")
    walk.decide("ravi", "unsigned")
    assert (walk.settle(), walk.dropped()) == ("PendingApproval", {"ravi": "NotSigned"})
    walk.decide("ravi", "signed")
    walk.approvals[-1] = signed(walk.approvals[-1], key)
    assert walk.settle() == "Approved"
    assert [one["name"] for one in walk.release["status"]["counted"] if one["username"] == "ravi"] == ["signed"]


@pytest.mark.attack(38)
def test_a_copy_of_a_signed_approval_with_anything_altered_is_dropped() -> None:
    walk = signing_walk(ravi=RAVI)
    walk.decide("cora")
    walk.decide("ravi", "altered")
    forged = signed(walk.approvals[-1], RAVI)
    forged["spec"] = forged["spec"] | {"reason": "approved without any condition"}
    walk.approvals[-1] = forged
    assert (walk.settle(), walk.dropped()) == ("PendingApproval", {"ravi": "BadSignature"})


@pytest.mark.attack(38)
@pytest.mark.parametrize(
    "change",
    [
        {"reason": "another reason"}, {"role": "compliance"}, {"decision": "Revoke"}, {"expirationTime": "2031-01-01T00:00:00Z"},
        {"subjectDigest": "sha256:" + "1" * 64}, {"approver": {"username": "rita", "groups": ["model-risk"]}},
        {"subjectRef": {"kind": "FineTuneJob", "name": "release", "uid": "11111111-2222-3333-4444-555555555555"}},
        {"subjectRef": {"kind": "ModelRelease", "name": "other", "uid": "11111111-2222-3333-4444-555555555555"}},
        {"subjectRef": {"kind": "ModelRelease", "name": "release", "uid": "22222222-2222-3333-4444-555555555555"}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_signature_holds_for_exactly_one_decision(change: Json) -> None:
    made = approval(RAVI)
    assert signed_by(Approval.model_validate(made), [STRANGER.public, RAVI.public]) == RAVI.public
    made["spec"] |= change
    assert signed_by(Approval.model_validate(made), [RAVI.public]) is None


def test_a_signature_holds_in_one_namespace() -> None:
    made = approval(RAVI)
    made["metadata"]["namespace"] = "elsewhere"
    assert signed_by(Approval.model_validate(made), [RAVI.public]) is None


def test_each_wrong_signature_is_told_in_words() -> None:
    bound = role(signer("ravi", RAVI.public), signer("rita", STRANGER.public))
    assert fault(approval(RAVI), bound) is None
    assert (
        fault(approval(), bound)
        == "NotSigned: role risk needs a signature: approve again with `tunegate approve --key`"
    )
    stranger = STRANGER.public.id[:16]
    assert fault(approval(STRANGER), bound) == (
        f"BadSignature: signed with key {stranger}…, which the policy does not have for ravi"
    )
    assert (
        fault(approval(RAVI), role(signer("rita", RAVI.public)))
        == "BadSignature: the policy has no key of ravi for role risk"
    )
    altered = approval(RAVI)
    altered["spec"]["reason"] = "another one"
    assert fault(altered, bound) == (
        f"BadSignature: key {RAVI.public.id[:16]}… of ravi did not sign this: "
        "the signature is of another decision, or no signature"
    )


def test_a_spare_key_of_the_approver_is_as_good_and_a_role_without_signers_asks_for_nothing() -> None:
    both = role(signer("ravi", STRANGER.public), signer("ravi", RAVI.public))
    assert fault(approval(RAVI), both) is None
    bare = ApprovalRole(name="risk", groups=["model-risk"])
    assert fault(approval(), bare) is None
    assert fault(approval(), role(signer("ravi", RAVI.public), name="compliance")) is None


def test_a_key_that_is_none_makes_nothing_count_and_the_policy_says_so() -> None:
    public = generate_private_key(SECP384R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    broken = pem.replace(pem.splitlines()[1][:8], "AAAAAAAA")
    for text in (pem, broken):
        entry = {"username": "ravi", "publicKey": text}
        assert fault(approval(RAVI), role(entry)) == (
            "BadSignature: the policy's key of ravi is not an ECDSA P-256 or Ed25519 key in PEM form: ask the policy's owner to correct it"
        )
        roles = [{"name": "risk", "groups": ["model-risk"], "signers": [signer("rita", RAVI.public), entry]}]
        policy = make_approvalpolicy(roles=roles)
        policy["metadata"] |= {"uid": "u", "generation": 1}
        status = dict(plan_policy(ApprovalPolicy.model_validate(policy), Walk().now).status or {})
        assert status["conditions"][0]["status"] == "False"
        assert "publicKey of ravi (risk) is not an ECDSA P-256" in status["conditions"][0]["message"]


def test_an_envelope_in_another_form_is_no_signature() -> None:
    def altered(**changes: Any) -> Approval:
        made = approval(RAVI)
        envelope = made["spec"]["signature"]
        for name, value in changes.items():
            (envelope["signatures"][0] if name in ("sig", "keyid") else envelope)[name] = value
        return Approval.model_validate(made)

    envelope = approval(RAVI)["spec"]["signature"]
    content = base64.b64decode(envelope["payload"])
    spaced = base64.b64encode(json.dumps(json.loads(content), indent=1).encode()).decode()
    assert signed_by(altered(payload=spaced), [RAVI.public]) is None
    assert signed_by(altered(payload=envelope["payload"].rstrip("=") + "A"), [RAVI.public]) is None
    assert signed_by(altered(sig="AAAA"), [RAVI.public]) is None
    assert signed_by(altered(sig="A"), [RAVI.public]) is None
    assert signed_by(altered(keyid=STRANGER.public.id), [RAVI.public, STRANGER.public]) is None
    assert signed_by(altered(), [RAVI.public]) == RAVI.public


def test_an_envelope_in_a_loose_spelling_of_base64_is_no_signature() -> None:
    """The last digit before the padding has four bits that mean nothing."""
    made = approval(EDWARDS)
    stated = made["spec"]["signature"]["signatures"][0]
    digit = stated["sig"][-3]
    loose = stated["sig"][:-3] + chr(ord(digit) + 1) + "=="
    assert base64.b64decode(loose) == base64.b64decode(stated["sig"])
    stated["sig"] = loose
    assert signed_by(Approval.model_validate(made), [EDWARDS.public]) is None


def test_what_is_signed_is_one_document_that_an_upgrade_must_not_change() -> None:
    person = {"username": "ravi", "uid": "u-7", "personId": "E-3", "authTime": "2026-11-24T12:00:00Z"}
    made = Approval.model_validate(make_approval(approver={**person, "groups": ["model-risk"]}))
    assert statement(made) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "ModelRelease/team/release", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://tunegate.io/approval/v1alpha1",
        "predicate": {
            "subjectRef": {
                "kind": "ModelRelease", "namespace": "team", "name": "release",
                "uid": "11111111-2222-3333-4444-555555555555",
            },
            "role": "risk",
            "decision": "Approve",
            "reason": "Scores and data were looked at.",
            "approver": {"username": "ravi", "personId": "E-3"},
            "expirationTime": "2030-01-01T00:00:00Z",
        },
    }  # fmt: skip


def test_stopping_needs_no_signature() -> None:
    for decision, phase in (("Reject", "Denied"), ("Revoke", "Revoked")):
        walk = signing_walk(ravi=RAVI)
        walk.decide("ravi", decision=decision, reason="not like this")
        assert walk.settle() == phase


@pytest.mark.attack(23, 38)
def test_a_key_that_is_put_into_the_policy_later_helps_no_open_release() -> None:
    walk = signing_walk(ravi=RAVI)
    walk.world["ApprovalPolicy"]["spec"]["roles"][0]["signers"].append(signer("ravi", STRANGER.public))
    walk.decide("cora")
    walk.decide("ravi")
    walk.approvals[-1] = signed(walk.approvals[-1], STRANGER)
    assert (walk.settle(), walk.dropped()) == ("PendingApproval", {"ravi": "BadSignature"})


def test_a_waiver_is_signed_in_the_same_way() -> None:
    world = WaiverWorld(waivers=[{**STEWARD, "signers": [signer("stella", RAVI.public)]}]).refuse(FEW)
    made = world.decide("stella")
    world.reconcile()
    assert (world.status["phase"], world.dropped()) == ("PendingWaiver", {"stella": "NotSigned"})
    document = {**made.to_dict(), "metadata": {**made.metadata, "name": "signed", "uid": "uid-signed"}}
    world.decisions.append(Approval.model_validate(signed(document, RAVI)))
    world.reconcile()
    assert world.status["phase"] != "PendingWaiver"
    assert [one["name"] for one in world.status["waiver"]["counted"]] == ["signed"]


def test_what_the_ledger_keeps_of_a_decision_covers_its_signature_and_did_not_change_for_others() -> None:
    unsigned = Approval.model_validate(approval())
    spec = unsigned.spec
    assert approval_digest(unsigned) == document_digest({
        "form": "tunegate.io/approval/v1", "subject": [spec.subject_ref.kind, spec.subject_ref.name, spec.subject_ref.uid], "digest": spec.subject_digest,
        "role": "risk", "decision": "Approve", "reason": spec.reason, "approver": ["ravi", "", "model-risk"],
        "expirationTime": spec.expiration_time,
    })  # fmt: skip
    ones = [Approval.model_validate(approval(key)) for key in (RAVI, STRANGER)]
    assert len({approval_digest(one) for one in (unsigned, *ones)}) == 3


@pytest.mark.parametrize("key", [RAVI, EDWARDS], ids=["P-256", "Ed25519"])
def test_another_tool_verifies_the_envelope_and_reads_an_in_toto_statement(key: SigningKey, tmp_path: Path) -> None:
    """OpenSSL over the pre-authentication encoding of the DSSE specification, written down here once more."""
    envelope = copy.deepcopy(approval(key)["spec"]["signature"])
    assert envelope["payloadType"] == PAYLOAD_TYPE
    content = base64.b64decode(envelope["payload"])
    (tmp_path / "signed").write_bytes(
        b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(content), content)
    )
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "key.pem").write_text(key.public.pem)
    hashed = ["-digest", "sha256"] if key is RAVI else []
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        *hashed,
        "-in",
        "signed",
        "-sigfile",
        "sig",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout, done.stderr
    statement = json.loads(content)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "ModelRelease/team/release", "digest": {"sha256": "0" * 64}}]
    assert statement["predicate"]["approver"] == {"username": "ravi"}
