"""An election as the cluster keeps it: Approvals with or without signatures, who asked, the frozen policy, the ledger's gaps.

What is meant is drawn first, and the objects are written down from it; nothing of them is read back here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.approvers import signed, signer
from tests.support.builders import make_approval, make_approvalpolicy
from tests.support.election import DIGEST, GROUPS, ROLES, START, SUBJECT, TICK, TOOL, Election, make_election
from tests.support.release_walk import Walk
from tunegate.admission.rules import Window
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicySpec, ApprovalRole
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.shared import Contributor, Requester
from tunegate.keys import SigningKey
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.release.ballot import Account, Question, Vote
from tunegate.release.evidence import assess
from tunegate.release.statement import Complete, ReleaseStatement, build

Json = dict[str, Any]
ERIN = Account("erin", person_id="E-9")
MALLORY = "mallory"
KEYS = {name: SigningKey(Ed25519PrivateKey.generate()) for name in ("amy", "bob", "cem", "dan", "eve", TOOL, MALLORY)}
PENS = (*["own"] * 9, "none", "altered", MALLORY)
"""How a decision is signed: with the author's key, not at all, well but then altered, with a key that the policy has of
somebody else."""

NEVER = datetime.min.replace(tzinfo=UTC)
UNREADABLE = ("of late", "9999-12-31T23:59:59-12:00")
"""Times that are none: such an approval is over, and of such a sign-in nothing is known."""


@dataclass(frozen=True)
class Written:
    """The objects, and the two elections that they mean."""

    approving: Election
    overriding: Election
    release: ModelRelease
    frozen: Frozen | None
    live: ApprovalPolicySpec
    """The policy of today; where another one is frozen, this one asks for nearly nothing."""
    approvals: tuple[Approval, ...]
    authorized: frozenset[str]
    windows: tuple[Window, ...]


def write_election(seed: int) -> Written:
    """Draw an election and write it down."""
    dice = random.Random(~seed)  # noqa: S311
    drawn = make_election(seed)
    frozen = drawn.question.digest is not None
    policy = _draw_policy(drawn, dice)
    by_job, by_release = dice.sample([*drawn.question.requesters, ERIN, ERIN][:2], 2)
    windows = _draw_windows(dice)
    votes = [_meant(vote, policy, windows, dice) for vote in drawn.votes]
    pens = [dice.choice(PENS) for _ in votes]

    asked = replace(
        drawn.question,
        requesters=frozenset({by_release, by_job} if frozen else {by_release}),
        contributors=drawn.question.contributors if frozen else frozenset(),
    )
    more = int(TOOL in {one.username for one in asked.requesters})
    glass = policy.break_glass if frozen else None
    held = timedelta(seconds=glass.max_seconds) if glass else timedelta(0)
    glasses = [glass.asked] if glass else []
    approving = replace(asked, roles=_raised(policy.roles, more))
    overriding = replace(asked, roles=_raised(glasses, more), max_age=held)
    cast = [_under(policy.roles, vote, pen) for vote, pen in zip(votes, pens, strict=True)]
    overrides = [_as_approval(_under(glasses, vote, pen)) for vote, pen in zip(votes, pens, strict=True)]
    return Written(
        approving=Election(approving, tuple(cast), drawn.now),
        overriding=Election(overriding, tuple(overrides), drawn.now),
        release=_release(by_release),
        frozen=_frozen(policy, by_job, asked) if asked.digest else None,
        live=_lax() if frozen else policy,
        approvals=tuple(_approval(vote, pen, dice) for vote, pen in zip(votes, pens, strict=True)) + _elsewhere(dice),
        authorized=frozenset(vote.uid for vote in votes if vote.authorized) | {"elsewhere"},
        windows=windows,
    )


def _draw_policy(drawn: Election, dice: random.Random) -> ApprovalPolicySpec:
    def signers() -> list[Json] | None:
        people = [MALLORY, *dice.sample([*KEYS], 6)]
        return [signer(name, KEYS[name].public) for name in people] if dice.random() < 0.4 else None

    roles = [{**role.to_dict(), "signers": signers()} for role in drawn.question.roles]
    glass = {
        "role": dice.choice(["break-glass"] * 6 + [*ROLES]), "groups": [GROUPS[0]], "minApprovals": dice.randint(1, 2),
        "maxSeconds": (TICK * dice.randint(4, 14)).seconds, "signers": signers(),
    }  # fmt: skip
    policy = make_approvalpolicy(
        roles=roles or [{"name": "nobody", "groups": ["nobodies"]}],
        maxApprovalAgeSeconds=drawn.question.max_age.seconds,
        identity=drawn.question.identity,
        breakGlass=glass if dice.random() < 0.9 else None,
    )
    return ApprovalPolicySpec.model_validate(policy["spec"])


def _draw_windows(dice: random.Random) -> tuple[Window, ...]:
    starts = [START + TICK * dice.randint(-1, 5) for _ in range(dice.choice([0, 0, 0, 0, 1, 2]))]
    return tuple(Window(start, start + TICK * dice.randint(0, 1)) for start in starts)


def _meant(vote: Vote, policy: ApprovalPolicySpec, windows: Sequence[Window], dice: random.Random) -> Vote:
    """Some approvals are overrides, and some decisions were made while nobody watched."""
    vote = replace(vote, guarded=not any(gap.since <= vote.created <= gap.until for gap in windows))
    vote = replace(vote, expires=NEVER) if dice.random() < 0.05 else vote
    if vote.decision != "Approve" or dice.random() < 0.7:
        return vote
    usual = policy.break_glass.role if policy.break_glass else vote.role
    return replace(vote, decision="Override", role=usual if dice.random() < 0.9 else vote.role)


def _raised(roles: Sequence[ApprovalRole], more: int) -> tuple[ApprovalRole, ...]:
    return tuple(role.model_copy(update={"min_approvals": role.min_approvals + more}) for role in roles)


def _under(roles: Sequence[ApprovalRole], vote: Vote, pen: str) -> Vote:
    """Return the vote with what its role says of its signature."""
    signers = [one for role in roles if role.name == vote.role for one in role.signers or []]
    if not signers or (pen == "own" and vote.account.username in {one.username for one in signers}):
        return replace(vote, signature_fault=None)
    return replace(vote, signature_fault=("NotSigned" if pen == "none" else "BadSignature", ""))


def _as_approval(vote: Vote) -> Vote:
    """What is asked of an override is what is asked of an approval; a withdrawal takes back both, and the rest is mute."""
    if vote.decision == "Withdraw":
        return vote
    return replace(vote, decision="Approve" if vote.decision == "Override" else "Override")


def _approval(vote: Vote, pen: str, dice: random.Random) -> Approval:
    def time(moment: datetime) -> str:
        if moment == NEVER:
            return dice.choice(UNREADABLE)
        zone = timezone(timedelta(hours=5, minutes=30)) if dice.random() < 0.5 else UTC
        return moment.astimezone(zone).isoformat().replace("+00:00", dice.choice(["Z", "z", "+00:00"]))

    account = vote.account
    person = {
        "username": account.username, "uid": account.uid or None, "personId": account.person_id or None,
        "authTime": time(vote.signed_in) if vote.signed_in else dice.choice([None, *UNREADABLE]),
        "groups": sorted(vote.groups),
    }  # fmt: skip
    made = make_approval(
        vote.name, subjectRef={"kind": "ModelRelease", "name": "release", "uid": vote.subject_uid},
        subjectDigest=vote.digest, role=vote.role, decision=vote.decision, approver=person, expirationTime=time(vote.expires),
    )  # fmt: skip
    made["metadata"] |= {"uid": vote.uid, "creationTimestamp": f"{vote.created:%Y-%m-%dT%H:%M:%SZ}"}
    if pen != "none":
        made = signed(made, KEYS[MALLORY if pen == MALLORY else account.username])
    if pen == "altered":
        made["spec"]["reason"] = "another reason than the one that was signed"
    return Approval.model_validate(made)


def _elsewhere(dice: random.Random) -> tuple[Approval, ...]:
    """Return decisions that name a job of the release's name, or another release: they would decide, were they its own."""
    cast = Vote(
        name="elsewhere", uid="elsewhere", subject_uid=SUBJECT, digest=DIGEST, role=dice.choice(ROLES),
        decision=dice.choice(["Approve", "Reject", "Revoke"]), account=Account("fay"), groups=frozenset(GROUPS),
        created=START, expires=START + timedelta(days=1),
    )  # fmt: skip
    made = _approval(cast, "none", dice)
    reference = made.spec.subject_ref.model_copy(update=dice.choice([{"kind": "FineTuneJob"}, {"name": "another"}]))
    return (made.model_copy(update={"spec": made.spec.model_copy(update={"subject_ref": reference})}),)


@cache
def _world() -> tuple[ModelRelease, ReleaseStatement]:
    walk = Walk()
    walk.release["metadata"]["uid"] = SUBJECT
    complete = assess(walk.live())
    assert isinstance(complete, Complete)
    return walk.live().release, build(complete)


def _requester(account: Account) -> Requester:
    given = {"username": account.username, "uid": account.uid or None, "personId": account.person_id or None}
    return Requester.model_validate(given | ({"unverified": True} if account.username == TOOL else {}))


def _release(by: Account) -> ModelRelease:
    release = _world()[0]
    return release.model_copy(update={"spec": release.spec.model_copy(update={"requested_by": _requester(by)})})


def _frozen(policy: ApprovalPolicySpec, by: Account, asked: Question) -> Frozen:
    statement = _world()[1]
    named = [Contributor(username=one.username, person_id=one.person_id or None) for one in asked.contributors]
    parts = {
        "job": statement.job.model_copy(update={"requested_by": _requester(by), "contributors": named}),
        "policy": statement.policy.model_copy(update={"spec": policy}),
    }
    return Frozen(statement.model_copy(update=parts), asked.digest or "", repository="", oci_digest="")


@cache
def _lax() -> ApprovalPolicySpec:
    glass = {"role": "break-glass", "groups": [*GROUPS], "maxSeconds": 604_800}
    roles = [{"name": name, "groups": [*GROUPS]} for name in ROLES]
    return ApprovalPolicySpec.model_validate(make_approvalpolicy(roles=roles, breakGlass=glass)["spec"])
