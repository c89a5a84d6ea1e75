"""Counting: what is approved does not depend on order, on who came first, or on luck in matching people to roles."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.api.approvalpolicy import ApprovalRole, IdentityRule
from tunegate.release.ballot import Account, Question, Verdict, Vote
from tunegate.release.counting import count, match

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
ROLES = ["risk", "compliance", "legal"]


def role(name: str, slots: int = 1) -> ApprovalRole:
    return ApprovalRole(name=name, min_approvals=slots, groups=[f"group-{name}"])


def ask(
    *roles: ApprovalRole, requesters: tuple[str, ...] = ("erin",), max_age: timedelta = timedelta(days=7)
) -> Question:
    return Question("uid-1", DIGEST, frozenset(Account(name) for name in requesters), roles, max_age)


def vote(
    who: str, hat: str = "risk", decision: str = "Approve", *, at: int = 0, number: int = 0, **changes: object
) -> Vote:
    name = f"{who}-{hat}-{decision.lower()}-{number}"
    made = Vote(
        name=name, uid=f"uid-{name}", subject_uid="uid-1", digest=DIGEST, role=hat,
        decision=decision,  # type: ignore[arg-type]
        account=Account(who), groups=frozenset(f"group-{one}" for one in ROLES),
        created=NOW - timedelta(hours=1) + timedelta(seconds=at), expires=NOW + timedelta(hours=1),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def reasons(verdict: Verdict) -> dict[str, str]:
    return {entry.vote.account.username: entry.reason for entry in verdict.dropped}


def test_two_people_of_two_roles_are_a_quorum() -> None:
    verdict = count(ask(role("risk"), role("compliance")), [vote("ravi"), vote("cora", "compliance")], NOW)
    assert verdict.outcome == "Quorum"
    assert {(entry.vote.account.username, entry.role) for entry in verdict.counted} == {
        ("ravi", "risk"), ("cora", "compliance"),
    }  # fmt: skip
    assert verdict.missing == ()


def test_what_was_made_without_admission_rules_stops_but_does_not_approve() -> None:
    approvals = [vote("ravi", guarded=False), vote("cora", "compliance")]
    verdict = count(ask(role("risk"), role("compliance")), approvals, NOW)
    assert (verdict.outcome, reasons(verdict)) == ("Waiting", {"ravi": "RulesNotInForce"})
    for decision, outcome in (("Reject", "Rejected"), ("Revoke", "Revoked")):
        stop = vote("ravi", decision=decision, guarded=False)
        assert count(ask(role("risk")), [vote("ravi", number=1), stop], NOW).outcome == outcome


def test_what_is_not_signed_stops_but_does_not_approve() -> None:
    unsigned = ("NotSigned", "no signature")
    for decision, outcome in (("Approve", "Waiting"), ("Reject", "Rejected"), ("Revoke", "Revoked")):
        votes = [vote("ravi", decision=decision, signature_fault=unsigned)]
        assert count(ask(role("risk")), votes, NOW).outcome == outcome


@pytest.mark.attack(4)
def test_one_person_with_two_roles_fills_one_slot() -> None:
    verdict = count(ask(role("risk"), role("compliance")), [vote("ravi"), vote("ravi", "compliance")], NOW)
    assert verdict.outcome == "Waiting"
    assert len(verdict.counted) == 1
    assert reasons(verdict) == {"ravi": "SamePerson"}


def test_second_approval_of_one_person_for_one_role_does_not_count() -> None:
    verdict = count(ask(role("risk", 2)), [vote("ravi"), vote("ravi", number=1)], NOW)
    assert verdict.missing == (("risk", 1),)
    assert reasons(verdict) == {"ravi": "SamePerson"}


def test_person_with_two_roles_does_not_block_the_only_other_reviewer() -> None:
    votes = [vote("both", "risk", at=0), vote("both", "compliance", at=1), vote("ravi", "risk", at=2)]
    verdict = count(ask(role("risk"), role("compliance")), votes, NOW)
    assert verdict.outcome == "Quorum"


@pytest.mark.attack(4)
def test_two_accounts_with_one_uid_are_one_person() -> None:
    votes = [
        vote("amy", account=Account("amy", "7")),
        vote("amy-admin", "compliance", account=Account("amy-admin", "7")),
    ]
    verdict = count(ask(role("risk"), role("compliance")), votes, NOW)
    assert len(verdict.counted) == 1


@pytest.mark.attack(3)
def test_requester_does_not_count_not_even_by_a_second_account() -> None:
    question = replace(ask(role("risk")), requesters=frozenset({Account("erin", "9")}))
    for account in (Account("erin"), Account("erin", "9"), Account("erin-admin", "9")):
        verdict = count(question, [vote("erin", account=account)], NOW)
        assert verdict.outcome == "Waiting"
        assert [entry.reason for entry in verdict.dropped] == ["IsRequester"]


@pytest.mark.attack(50)
def test_who_worked_on_the_job_does_not_count_by_name_or_as_the_same_human() -> None:
    question = replace(ask(role("risk")), contributors=frozenset({Account("dana", person_id="E-4")}))
    for account in (Account("dana"), Account("dana", "4", "E-9"), Account("dana-risk", "7", "E-4")):
        assert reasons(count(question, [vote("her", account=account)], NOW)) == {account.username: "IsContributor"}
    link = vote("link", "legal", "Withdraw", account=Account("dana", "8"))
    second = vote("second", account=Account("dee", "8"))
    assert reasons(count(question, [second, link], NOW)) == {"dee": "IsContributor"}
    assert count(question, [vote("rita", account=Account("rita", "3", "E-3"))], NOW).outcome == "Quorum"


def test_a_name_that_nobody_proves_makes_no_two_people_one() -> None:
    """Whoever names rita with ravi's person-id bars both; what the one takes back, the other does not."""
    question = replace(ask(role("risk"), role("legal")), contributors=frozenset({Account("rita", person_id="E-5")}))
    votes = [
        vote("rita", "risk", "Withdraw", account=Account("rita", "1", "E-1")),
        vote("ravi", "legal", account=Account("ravi", "2", "E-5")),
    ]
    verdict = count(question, votes, NOW)
    assert reasons(verdict) == {"ravi": "IsContributor"}
    assert verdict.withdrawn == frozenset()


@pytest.mark.attack(4)
def test_accounts_with_one_person_id_are_one_person_whatever_their_names_and_uids() -> None:
    votes = [
        vote("amy", account=Account("amy", "1", "E-7")),
        vote("amy-admin", "compliance", account=Account("amy-admin", "2", "E-7")),
    ]
    verdict = count(ask(role("risk"), role("compliance")), votes, NOW)
    assert verdict.outcome == "Waiting"
    assert [entry.message for entry in verdict.dropped] == ["amy (person E-7) counts once, for role compliance"]


def test_accounts_are_linked_through_others() -> None:
    """amy and root share a uid, root and night share a person: amy and night never met."""
    votes = [
        vote("amy", account=Account("amy", "1")),
        vote("night", "compliance", account=Account("night", "2", "E-7")),
    ]
    link = vote("root", "legal", "Withdraw", account=Account("root", "1", "E-7"))
    assert count(ask(role("risk"), role("compliance")), votes, NOW).outcome == "Quorum"
    assert reasons(count(ask(role("risk"), role("compliance")), [*votes, link], NOW)) == {
        "amy": "Withdrawn", "night": "Withdrawn",
    }  # fmt: skip


@pytest.mark.attack(3)
def test_requester_is_known_by_person_id_under_another_name() -> None:
    question = replace(ask(role("risk")), requesters=frozenset({Account("erin", "1", "E-2")}))
    other = vote("erin-risk", account=Account("erin-risk", "2", "E-2"))
    assert reasons(count(question, [other], NOW)) == {"erin-risk": "IsRequester"}
    colleague = vote("rita", account=Account("rita", "3", "E-3"))
    assert count(question, [colleague], NOW).outcome == "Quorum"


@pytest.mark.attack(6)
def test_where_the_policy_wants_a_person_id_an_account_alone_does_not_count() -> None:
    erin = frozenset({Account("erin", person_id="E-2")})
    question = replace(ask(role("risk")), requesters=erin, identity=IdentityRule(require_person_id=True))
    assert reasons(count(question, [vote("ravi")], NOW)) == {"ravi": "NoPersonId"}
    known = vote("ravi", account=Account("ravi", person_id="E-3"))
    assert count(question, [known], NOW).outcome == "Quorum"
    assert count(replace(question, identity=IdentityRule()), [vote("ravi")], NOW).outcome == "Quorum"


@pytest.mark.attack(3)
def test_what_an_account_without_a_person_id_asked_for_is_approved_by_nobody() -> None:
    known = vote("ravi", account=Account("ravi", person_id="E-3"))
    question = replace(ask(role("risk")), identity=IdentityRule(require_person_id=True))
    verdict = count(question, [known], NOW)
    assert reasons(verdict) == {"ravi": "NoPersonId"}
    assert verdict.dropped[0].message == (
        "ravi may be erin, who requested this: the policy asks which human that is, and no person-id says so. It has to be "
        "requested again, signed in through the identity provider"
    )
    assert count(question, [vote("lena", decision="Reject")], NOW).outcome == "Rejected"


@pytest.mark.attack(7)
def test_approval_from_an_old_session_does_not_count() -> None:
    question = replace(ask(role("risk")), identity=IdentityRule(max_auth_age_seconds=3600))
    made = vote("ravi").created

    def signed_in(time: datetime | None) -> str:
        verdict = count(question, [vote("ravi", signed_in=time)], NOW)
        return reasons(verdict).get("ravi", verdict.outcome)

    assert signed_in(made - timedelta(hours=1)) == "Quorum"
    assert signed_in(made - timedelta(hours=1, microseconds=1)) == "StaleSession"
    assert signed_in(None) == "StaleSession"
    assert signed_in(made + timedelta(minutes=5)) == "Quorum"
    assert signed_in(made + timedelta(minutes=5, microseconds=1)) == "StaleSession"
    assert count(question, [vote("ravi", decision="Revoke")], NOW).outcome == "Revoked"


@pytest.mark.attack(9, 10, 24, 25)
def test_every_reason_not_to_count() -> None:
    votes = {
        "WrongSubject": vote("amy", subject_uid="uid-of-an-earlier-release"),
        "WrongDigest": vote("bob", digest=OTHER),
        "UnknownRole": vote("cem", "marketing"),
        "NotInRoleGroup": vote("dan", groups=frozenset({"group-compliance"})),
        "Expired": vote("eve", expires=NOW),
        "NotAuthorized": vote("fay", authorized=False),
        "IsRequester": vote("erin"),
        "IsContributor": vote("dana"),
        "NotSigned": vote("gus", signature_fault=("NotSigned", "no signature")),
        "BadSignature": vote("hal", signature_fault=("BadSignature", "another's key")),
    }
    question = replace(ask(role("risk", 5)), contributors=frozenset({Account("dana")}))
    verdict = count(question, votes.values(), NOW)
    assert verdict.counted == ()
    assert {entry.vote.name: entry.reason for entry in verdict.dropped} == {one.name: why for why, one in votes.items()}


def test_each_reason_is_told_in_words() -> None:
    question = ask(ApprovalRole(name="risk", groups=["group-risk", "auditors"]), role("compliance"))
    question = replace(question, contributors=frozenset({Account("dana")}))
    votes = [
        vote("ravi"),
        vote("dana"),
        vote("ravi", "compliance", number=1),
        vote("rosa", at=1),
        vote("sam", at=2),
        vote("amy", subject_uid="uid-0"),
        vote("bob", digest=OTHER),
        vote("cem", "marketing"),
        vote("dan", groups=frozenset({"group-compliance"})),
        vote("eve", expires=NOW),
        vote("fay", authorized=False),
        vote("gus", guarded=False),
        vote("erin"),
        vote("hal"),
        vote("hal", decision="Withdraw"),
        vote("ida", signature_fault=("BadSignature", "signed with another key")),
    ]
    told = [
        f"{entry.vote.account.username}: {entry.reason}, {entry.message}"
        for entry in count(question, votes, NOW).dropped
    ]
    assert sorted(told) == [
        "amy: WrongSubject, names another object of this name (uid uid-0)",
        "bob: WrongDigest, names sha256:bbbbbbbbbbbb…, the present digest is sha256:aaaaaaaaaaaa",
        "cem: UnknownRole, the policy asks for no role marketing here: compliance, risk",
        "dan: NotInRoleGroup, role risk needs one of the groups group-risk, auditors",
        "dana: IsContributor, people who worked on the job cannot approve what came of it",
        "erin: IsRequester, people who requested the job or its release cannot approve it",
        "eve: Expired, held until 2026-11-24T12:00:00+00:00",
        "fay: NotAuthorized, RBAC does not let fay approve for role risk (any more)",
        "gus: RulesNotInForce, made while the admission rules were not in force: whose it is cannot be told. Approve again",
        "hal: Withdrawn, its author took it back",
        "ida: BadSignature, signed with another key",
        "ravi: SamePerson, ravi counts once, for role compliance",
        "sam: NotNeeded, all slots of role risk are filled by others",
    ]
    told = [
        entry.message
        for rule in (IdentityRule(require_person_id=True), IdentityRule(max_auth_age_seconds=5400))
        for time in (NOW - timedelta(days=1), NOW + timedelta(days=1), None)
        for entry in count(replace(question, identity=rule), [vote("ravi", signed_in=time)], NOW).dropped
    ]
    asks, again = (
        "the policy asks for a sign-in of the last 1:30:00 before approving, and",
        "Sign in again and approve again",
    )
    assert list(dict.fromkeys(told)) == [
        "the policy asks which human ravi is, and no person-id says so. Sign in through the identity provider and approve "
        "again",
        f"{asks} it was at 2026-11-23T12:00:00+00:00. {again}",
        f"{asks} the auth-time 2026-11-25T12:00:00+00:00 lies after the approval. {again}",
        f"{asks} no auth-time says when it was. {again}",
    ]
    assert [entry.message for entry in count(replace(ask(), digest=None), [vote("ravi")], NOW).dropped] == [
        "names sha256:aaaaaaaaaaaa…, the present digest is not known yet"
    ]
    assert [entry.message for entry in count(ask(), [vote("ravi")], NOW).dropped] == [
        "the policy asks for no role risk here: none"
    ]


@pytest.mark.attack(24)
def test_approval_outlives_the_policys_age_by_no_second() -> None:
    old = vote("ravi", created=NOW - timedelta(days=1), expires=NOW + timedelta(days=300))
    assert count(ask(role("risk"), max_age=timedelta(days=1, seconds=1)), [old], NOW).outcome == "Quorum"
    assert reasons(count(ask(role("risk"), max_age=timedelta(days=1)), [old], NOW)) == {"ravi": "Expired"}


def test_third_reviewer_is_not_needed() -> None:
    verdict = count(ask(role("risk")), [vote("ravi", at=0), vote("rosa", at=1)], NOW)
    assert [entry.vote.account.username for entry in verdict.counted] == ["ravi"]
    assert reasons(verdict) == {"rosa": "NotNeeded"}


@pytest.mark.attack(24)
def test_withdraw_wins_whether_it_came_before_or_after() -> None:
    for at in (-60, 60):
        verdict = count(ask(role("risk")), [vote("ravi"), vote("ravi", "compliance", "Withdraw", at=at)], NOW)
        assert verdict.outcome == "Waiting"
        assert reasons(verdict) == {"ravi": "Withdrawn"}


def test_nobody_takes_back_another_persons_approval() -> None:
    verdict = count(ask(role("risk")), [vote("ravi"), vote("cora", "risk", "Withdraw")], NOW)
    assert verdict.outcome == "Quorum"


def test_one_reject_beats_any_quorum_and_names_no_digest() -> None:
    votes = [vote("ravi"), vote("cora", "compliance"), vote("lena", "compliance", "Reject", digest=OTHER, expires=NOW)]
    verdict = count(ask(role("risk"), role("compliance")), votes, NOW)
    assert verdict.outcome == "Rejected"
    assert [one.account.username for one in verdict.stops] == ["lena"]


def test_reject_by_somebody_without_a_role_of_the_policy_does_not_count() -> None:
    outsider = vote("olga", "risk", "Reject", groups=frozenset({"somebody"}))
    verdict = count(ask(role("risk")), [vote("ravi"), outsider], NOW)
    assert verdict.outcome == "Quorum"
    assert reasons(verdict) == {"olga": "NotInRoleGroup"}


def test_revoke_beats_reject() -> None:
    votes = [vote("ravi"), vote("cora", "compliance", "Reject"), vote("sven", "serving-operator", "Revoke")]
    assert count(ask(role("risk"), role("compliance")), votes, NOW).outcome == "Revoked"


def test_decision_on_an_earlier_release_of_the_name_stops_nothing() -> None:
    votes = [
        vote("ravi"),
        vote("sven", "risk", "Revoke", subject_uid="earlier"),
        vote("cora", "risk", "Reject", subject_uid="e"),
    ]
    assert count(ask(role("risk")), votes, NOW).outcome == "Quorum"


@pytest.mark.attack(11)
def test_without_a_digest_or_roles_there_is_never_a_quorum() -> None:
    assert count(replace(ask(role("risk")), digest=None), [vote("ravi")], NOW).outcome == "Waiting"
    assert count(ask(), [vote("ravi")], NOW).outcome == "Waiting"


@given(
    st.lists(st.frozensets(st.sampled_from(ROLES), max_size=3), max_size=5),
    st.dictionaries(st.sampled_from(ROLES), st.integers(1, 2), max_size=3),
)
def test_matching_fills_as_many_slots_as_trying_everything(
    roles_of: list[frozenset[str]], capacity: dict[str, int]
) -> None:
    found = match(roles_of, capacity)
    assert all(hat in roles_of[one] for one, hat in found.items())
    assert all(list(found.values()).count(hat) <= slots for hat, slots in capacity.items())
    assert len(found) == _most(roles_of, capacity)


def _most(roles_of: list[frozenset[str]], capacity: dict[str, int]) -> int:
    """Try every way to give each person one role or none."""
    choices = [[None, *sorted(hats)] for hats in roles_of]
    best = 0
    for way in itertools.product(*choices):
        hats = [hat for hat in way if hat is not None]
        if all(hats.count(hat) <= capacity.get(hat, 0) for hat in set(hats)):
            best = max(best, len(hats))
    return best
