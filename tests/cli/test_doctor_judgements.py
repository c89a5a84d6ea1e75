"""How doctor judges what it sees: the rights that the chart itself gives, and rights that a site added to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from tests.support import helm
from tests.support.builders import make_approvalpolicy
from tests.support.ledgers import NOW
from tunegate.admission.definitions import definitions
from tunegate.admission.rules import Rule, parse
from tunegate.cli.doctor import duties, powers, rules
from tunegate.cli.doctor.check import Check, NotSeen, looked
from tunegate.ledger.seal import SEALS
from tunegate.rbac.powers import POWERS
from tunegate.rbac.rights import Need, Rights, Subject, grants

Json = dict[str, Any]
ENGINEERS, RISK, OWNERS = (Subject("Group", name) for name in ("engineers", "model-risk", "model-governance"))
PEOPLE: Json = {
    "requesters": [{"groups": ["engineers"]}],
    "approvers": [{"role": "risk", "groups": ["model-risk"]}, {"role": "compliance", "groups": ["compliance"]}],
    "auditors": [{"groups": ["audit"]}],
    "policyOwners": [{"groups": ["model-governance"]}],
    "evaluationOwners": [{"groups": ["evaluation"]}],
}
GOVERNED = [{"name": "team-a", "policy": "policy"}, {"name": "team-b", "policy": "policy"}]
KINDS = ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")
SYSTEM = "tunegate-system"


def role(name: str, *rights: Json) -> Json:
    return {"kind": "ClusterRole", "metadata": {"name": name}, "rules": list(rights)}


def rule(group: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> Json:
    made: Json = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return made | ({"resourceNames": list(names)} if names else {})


def bound(name: str, kind: str, subject: str, namespace: str = "", labels: dict[str, str] | None = None) -> Json:
    where = {"namespace": namespace} if namespace else {}
    account = {"namespace": "kube-system"} if kind == "ServiceAccount" else {}
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": f"{name}-{subject}", **where, "labels": labels or {}},
        "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [{"kind": kind, "name": subject, **account}],
    }  # fmt: skip


def rights(*more: Json, people: Json | None = None) -> Rights:
    """Return the rights of a cluster with the chart installed, and of ``more`` objects."""
    objects = [*helm.render(helm.values(people=people or PEOPLE)), *more]
    return Rights(grants(*([one for one in objects if one["kind"] == kind] for kind in KINDS)))


def judged(held: Rights) -> dict[str, Check]:
    found = [
        *powers.powers(held, SYSTEM),
        *duties.overlaps(held, ["team-a", "team-b"]),
        *duties.roles(held, GOVERNED, {"policy": make_approvalpolicy()}),
    ]
    return {one.name: one for one in found}


def test_the_chart_itself_gives_nobody_a_way_around() -> None:
    assert {name: one.state for name, one in judged(rights()).items()} == {
        **{power.name: "OK" for power in POWERS},
        "who asks and approves": "OK", "who writes policies and approves": "OK",
        "who asks and writes suites": "OK", "who writes suites and approves": "OK", "who writes policies and suites": "OK",
        "policy of team-a": "OK", "policy of team-b": "OK",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("power", "right"),
    [
        ("impersonate people", rule("", "users", "impersonate")),
        ("impersonate people", rule("authentication.k8s.io", "users", "impersonate:user-info")),
        (
            "impersonate people with their person-ids",
            rule("authentication.k8s.io", "userextras/tunegate.io/person-id", "impersonate"),
        ),
        (
            "rewrite objects on their way in",
            rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create"),
        ),
        ("maintain the installation", rule("tunegate.io", "installations", "maintain", names=("tunegate",))),
        ("reach pods through nodes", rule("", "nodes/proxy", "get")),
        (
            "sign certificates that log in",
            rule("certificates.k8s.io", "signers", "approve", names=("kubernetes.io/*",)),
        ),
        ("write rights", rule("rbac.authorization.k8s.io", "clusterroles", "escalate")),
        ("change the admission rules", rule("admissionregistration.k8s.io", "*", "delete")),
        ("change the admission rules", rule("apiregistration.k8s.io", "apiservices", "patch")),
        ("enter the operator", rule("", "*/exec", "create")),
        ("reach the operator's Secrets", rule("apps", "deployments", "patch")),
    ],
)
def test_a_power_is_a_warning_with_strangers_and_a_failure_with_people_of_tunegate_or_everybody(
    power: str, right: Json
) -> None:
    added = role("added", right)
    assert judged(rights(added, bound("added", "Group", "sre")))[power].state == "WARN"
    for group in ("engineers", "model-risk", "model-governance", "system:authenticated"):
        found = judged(rights(added, bound("added", "Group", group)))[power]
        assert (found.state, found.found) == ("FAIL", f"group {group}")
        assert found.advice.startswith(f"take it from group {group}: they could ")


def test_a_right_in_another_namespace_reaches_neither_the_operator_nor_the_cluster() -> None:
    added = role("added", rule("", "pods/exec", "create"), rule("", "users", "impersonate"))
    found = judged(rights(added, bound("added", "Group", "sre", namespace="elsewhere")))
    assert {found["enter the operator"].state, found["impersonate people"].state} == {"OK"}
    inside = judged(rights(added, bound("added", "Group", "sre", namespace=SYSTEM)))
    assert inside["enter the operator"].state == "WARN"


def test_administrators_are_named_once_and_fail_when_they_are_people_of_tunegate() -> None:
    everything = role("cluster-admin", rule("*", "*", "*"))
    found = judged(rights(everything, bound("cluster-admin", "Group", "sre")))
    assert (found["administrators"].state, found["administrators"].found) == ("WARN", "may do everything: group sre")
    assert found["impersonate people"].state == "OK"
    both = judged(rights(everything, bound("cluster-admin", "Group", "system:authenticated")))
    assert both["administrators"].state == "FAIL"


def test_kubernetes_own_parts_are_left_out_and_what_was_added_to_their_bindings_is_not() -> None:
    label = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    added = role("added", rule("", "secrets", "get"))
    own = bound("added", "ServiceAccount", "token-cleaner", labels=label)
    assert judged(rights(added, own))["reach the operator's Secrets"].state == "OK"
    addon = bound("added", "ServiceAccount", "addon")
    assert judged(rights(added, addon))["reach the operator's Secrets"].found == "service account kube-system/addon"
    opened = bound("added", "Group", "system:authenticated", labels=label)
    assert judged(rights(added, opened))["reach the operator's Secrets"].state == "FAIL"


def test_overlapping_duties_are_named() -> None:
    asks = {**PEOPLE, "requesters": [{"groups": ["engineers", "model-risk"]}]}
    found = judged(rights(people=asks))["who asks and approves"]
    assert (found.state, found.found) == ("WARN", "group model-risk")
    writes = {**PEOPLE, "policyOwners": [{"groups": ["model-risk"]}]}
    found = judged(rights(people=writes))["who writes policies and approves"]
    assert (found.state, found.found) == ("FAIL", "group model-risk")


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("engineers", "who asks and writes suites"),
        ("model-risk", "who writes suites and approves"),
        ("model-governance", "who writes policies and suites"),
    ],
)
def test_suites_beside_another_duty_are_named(group: str, line: str) -> None:
    found = judged(rights(people={**PEOPLE, "evaluationOwners": [{"groups": [group], "namespaces": ["team-b"]}]}))
    assert (found[line].state, found[line].found) == ("WARN", f"group {group}")
    others = {name for name in found if "suites" in name} - {line}
    assert {found[name].state for name in others} == {"OK"}


def test_a_role_that_nobody_can_fill_and_a_policy_that_is_missing_are_failures() -> None:
    fewer = {**PEOPLE, "approvers": [{"role": "risk", "groups": ["model-risk"], "namespaces": ["team-a"]}]}
    held = rights(people=fewer)
    found = {one.name: one for one in duties.roles(held, GOVERNED, {"policy": make_approvalpolicy()})}
    assert found["policy of team-a"].found == "nobody can approve as compliance"
    assert found["policy of team-b"].found == "nobody can approve as risk, compliance"
    (missing, _) = duties.roles(held, GOVERNED, {})
    assert (missing.state, missing.found) == ("FAIL", "ApprovalPolicy policy does not exist")


def test_a_right_on_another_object_only_is_not_taken_for_the_right() -> None:
    other = rule("tunegate.io", "approvalroles", "approve", names=("compliance",))
    assert not Need(("approve",), "tunegate.io", "approvalroles", "risk").met_by(other)
    assert Need(("approve",), "tunegate.io", "approvalroles").met_by(other)


@pytest.mark.parametrize(("minor", "state"), [("29", "FAIL"), ("30+", "OK"), ("35", "OK")])
def test_kubernetes_must_be_new_enough(minor: str, state: str) -> None:
    assert rules.version({"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0"}).state == state


def chart_rules() -> tuple[Rule, ...]:
    return parse(helm.one(helm.render(helm.values()), "ConfigMap", rules_name())["data"]["rules.yaml"])


def rules_name() -> str:
    objects = helm.render(helm.values())
    names = (str(one["metadata"]["name"]) for one in objects)
    return next(name for name in names if name.startswith("tunegate-admission-rules-"))


def test_missing_and_altered_rules_are_named() -> None:
    expected = (*chart_rules(), *definitions())
    live: list[Json] = [{"kind": one.kind, "metadata": {"name": one.name}, "spec": one.spec} for one in expected]
    assert rules.admission(expected, live, "the chart").state == "OK"
    altered = yaml.safe_load(yaml.safe_dump(live))
    altered[0]["spec"]["failurePolicy"] = "Ignore"
    found = rules.admission(expected, altered[:-1], "the chart")
    assert found.state == "FAIL"
    assert f"{live[0]['metadata']['name']}: spec.failurePolicy was changed" in found.found
    assert f"{live[-1]['metadata']['name']} is missing, and every object of its kind with it" in found.found
    assert "a CRD by kubectl replace" in found.advice


def known(rule_text: str, *, person: bool, **policy: Any) -> Check:
    spec = {**make_approvalpolicy()["spec"], **policy}
    expected = [Rule("ValidatingAdmissionPolicy", "tunegate-approver", {"text": rule_text})]
    extra = {"extra": {"tunegate.io/person-id": ["4711"]}} if person else {}
    (check,) = rules.level(expected, {"username": "ravi", **extra}, [{"metadata": {"name": "policy"}, "spec": spec}])
    return check


def test_assurance_level_is_the_lowest_of_rules_login_and_policies() -> None:
    required = {"identity": {"requirePersonId": True}}
    signed = [{"name": "risk", "groups": ["model-risk"], "signers": [{"username": "ravi", "publicKey": "…"}]}]
    bound_to_person = "request.userInfo.extra['tunegate.io/person-id']"
    assert known("username", person=True, **required).found.startswith("L1, accounts: the admission rules")
    assert known(bound_to_person, person=False, **required).found.startswith("L1, accounts: your login")
    assert known(bound_to_person, person=True).found.startswith("L1 under policy")
    assert known(bound_to_person, person=True, **required).found.startswith("L2")
    assert known(bound_to_person, person=True, **required, roles=signed).found.startswith("L3")
    glass = {"groups": ["duty"], "maxSeconds": 3600}
    assert known(bound_to_person, person=True, **required, roles=signed, breakGlass=glass).found.startswith("L2")
    waiver = {"name": "steward", "groups": ["stewards"], "findings": ["Budget"]}
    assert known(bound_to_person, person=True, **required, roles=signed, waivers=[waiver]).found.startswith("L2")


def record(type_: str, minutes: int) -> Json:
    return {"type": type_, "time": (NOW + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")}


def kept(*records: Json, minutes: int, **settings: str) -> dict[str, str]:
    there = {"TUNEGATE_LEDGER_KEYS": "/keys", "TUNEGATE_CHECKPOINT_MINUTES": "10", **settings}
    return {one.name: one.state for one in rules.ledger(records, there, NOW + timedelta(minutes=minutes))}


def test_a_ledger_that_is_not_signed_in_time_is_a_failure() -> None:
    seen, later = record("AdmissionVerified", 0), record("JobRequested", 5)
    assert kept(seen, record("CheckpointSigned", 4), later, minutes=20)["checkpoints"] == "OK"
    assert kept(seen, record("CheckpointSigned", 4), later, minutes=36)["checkpoints"] == "FAIL"
    assert kept(seen, later, minutes=36)["checkpoints"] == "FAIL"
    assert kept(seen, record("CheckpointSigned", 4), minutes=9999)["checkpoints"] == "OK"
    assert kept(seen, minutes=1, TUNEGATE_LEDGER_KEYS="")["ledger key"] == "FAIL"


@pytest.mark.parametrize("sealing", SEALS)
def test_every_record_that_seals_the_ledger_counts_as_signed(sealing: str) -> None:
    seen = record("AdmissionVerified", 0)
    (found,) = [
        check
        for check in rules.ledger(
            [seen, record(sealing, 5)], {"TUNEGATE_LEDGER_KEYS": "/keys"}, NOW + timedelta(days=9)
        )
        if check.name == "checkpoints"
    ]
    assert (found.state, found.found) == ("OK", f"last signed at {record(sealing, 5)['time']}; 0 records since")
    later = [seen, record(sealing, 5), record("JobRequested", 6)]
    assert "; 1 record since" in str(list(rules.ledger(later, {"TUNEGATE_LEDGER_KEYS": "/keys"}, NOW)))


def test_drift_that_the_operator_recorded_stands_until_it_saw_all_rules_again() -> None:
    seen, drift = record("AdmissionVerified", 0), record("AdmissionDrift", 1)
    assert kept(seen, drift, minutes=2)["operator's own look"] == "FAIL"
    assert kept(seen, drift, record("AdmissionVerified", 2), minutes=3)["operator's own look"] == "OK"
    assert kept(minutes=3)["operator's own look"] == "WARN"


def test_anchors_are_asked_for() -> None:
    assert rules.anchors({"TUNEGATE_ANCHOR_FOLDER": "/anchors"}).state == "OK"
    assert "Object Lock" in rules.anchors({"TUNEGATE_ANCHOR_BUCKET": "anchors"}).found
    assert rules.anchors({"TUNEGATE_ANCHOR_SYSLOG": "tls://logs.example:6514"}).state == "OK"
    assert rules.anchors({"TUNEGATE_MLFLOW_URI": "https://mlflow"}).state == "WARN"


def test_what_may_not_be_read_is_said_and_never_good() -> None:
    def look() -> list[Check]:
        raise NotSeen("you may not read clusterroles")

    (check,) = looked("ways around", look)
    assert (check.name, check.state, check.found) == ("ways around", "not seen", "you may not read clusterroles")
