"""The expressions of the admission rules without a server: all compile, and those about requesters, approvers and addresses decide as they should.

The other tests of this folder run the same rules on a real API server.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import builders, cel_rules, helm
from tests.support.cel_rules import Caller, decide

ROOT = Path(__file__).resolve().parents[2]
TOOL = "system:serviceaccount:argocd:controller"
Json = dict[str, Any]
ERIN = Caller(
    "erin", ("tunegate:engineers", "system:authenticated"),
    may=[("use", "tunegate.io/modelservers/server"), ("use", "tunegate.io/computepools/pool")],
)  # fmt: skip
RAVI = Caller(
    "ravi", ("tunegate:model-risk", "system:authenticated"), may=[("approve", "tunegate.io/approvalroles/risk")]
)


@pytest.fixture(scope="module")
def policies() -> dict[str, Json]:
    admission = {"gitOpsRequesters": [TOOL], "externalAddresses": ["203.0.113.0/24"], "networkWriters": ["net"]}
    rendered = helm.render(helm.values(admission=admission))
    return {one["metadata"]["name"]: one for one in rendered if one["kind"] == "ValidatingAdmissionPolicy"}


def expressions(content: Any, *names: str) -> list[str]:
    """Return all strings with these keys, at any depth."""
    if isinstance(content, list):
        return [text for one in content for text in expressions(one, *names)]
    if not isinstance(content, dict):
        return []
    own = [value for name, value in content.items() if name in names and isinstance(value, str)]
    return own + [text for value in content.values() for text in expressions(value, *names)]


def test_every_expression_of_the_chart_compiles(policies: dict[str, Json]) -> None:
    found = expressions(list(policies.values()), "expression", "messageExpression", "valueExpression")
    assert len(found) > 100
    for expression in found:
        cel_rules.compiled(expression)


def test_every_rule_of_the_crds_compiles() -> None:
    found = [
        rule
        for file in (ROOT / "crds").glob("*.yaml")
        for rule in expressions(yaml.safe_load(file.read_text()), "rule")
    ]
    assert len(found) > 30
    for expression in found:
        cel_rules.compiled(expression)


@pytest.mark.parametrize("expression", ["object.spec.missing == 1", "object.spec.name + 1 == 2"])
def test_a_failed_evaluation_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError):
        cel_rules.evaluate(expression, {"object": {"spec": {"name": "a"}}})


def test_an_unknown_function_does_not_compile() -> None:
    with pytest.raises(Exception, match="undeclared reference to 'isAdmin'"):
        cel_rules.compiled("isAdmin(object)")


def job(**requester: Any) -> Json:
    return builders.make_finetunejob("job", "team-a", requestedBy={"username": "erin", **requester})


@pytest.mark.parametrize(
    ("caller", "requester", "said"),
    [
        (ERIN, {}, None),
        (ERIN, {"groups": ["tunegate:engineers"]}, None),
        (ERIN, {"username": "ravi"}, "must be you"),
        (ERIN, {"uid": "u-1"}, "must be you"),
        (ERIN, {"personId": "E-1"}, "must be you"),
        (ERIN, {"groups": ["admins"]}, "a group that you are not in"),
        (ERIN, {"unverified": True}, "a GitOps tool asks"),
        (Caller("erin", uid="u-1"), {}, "must be you"),
        (Caller("erin", uid="u-1"), {"uid": "u-1"}, None),
        (Caller("erin", extra={"tunegate.io/person-id": ["E-1"]}), {"personId": "E-1"}, None),
        (Caller("erin", extra={"tunegate.io/person-id": ["E-1"]}), {"personId": "E-2"}, "must be you"),
        (Caller("erin", extra={"tunegate.io/person-id": ["E-1"]}), {}, 'personId: "E-1"'),
        (Caller(TOOL, uid="u-1"), {"username": TOOL, "unverified": True}, None),
        (Caller(TOOL, uid="u-1"), {"username": TOOL}, "unverified"),
        (Caller("system:serviceaccount:a:b"), {"username": "system:serviceaccount:a:b"}, "requested by people"),
    ],
)  # fmt: skip
def test_requested_by_must_be_the_caller(
    policies: dict[str, Json], caller: Caller, requester: Json, said: str | None
) -> None:
    refusals = decide(policies["tunegate-requester"], caller, job(**requester))
    assert any(said in one for one in refusals) if said else refusals == []


def test_a_job_needs_the_right_to_its_server(policies: dict[str, Json]) -> None:
    assert decide(policies["tunegate-use"], ERIN, job()) == []
    (refusal,) = decide(
        policies["tunegate-use"], Caller("erin", may=[("get", "tunegate.io/modelservers/server")]), job()
    )
    assert "erin may not use ModelServer server" in refusal


def approval(**spec: Any) -> Json:
    values = {"approver": {"username": "ravi"}, "expirationTime": "2026-06-01T00:00:00Z", "role": "risk", **spec}
    made = builders.make_approval(f"approval-{secrets.token_hex(3)}", "team-a", **values)
    made["metadata"]["creationTimestamp"] = "2026-05-01T00:00:00Z"
    return made


OVERRIDER = Caller("ravi", may=[("override", "tunegate.io/approvalroles/risk")])
REVOKER = Caller("ravi", may=[("revoke", "tunegate.io/approvalroles/risk")])


@pytest.mark.parametrize(
    ("caller", "spec", "said"),
    [
        (RAVI, {}, None),
        (RAVI, {"approver": {"username": "cora"}}, "spec.approver must be you"),
        (RAVI, {"role": "compliance"}, 'the RBAC verb "approve" on approvalroles/compliance'),
        (RAVI, {"decision": "Withdraw"}, None),
        (RAVI, {"decision": "Revoke"}, '"revoke" on approvalroles/risk'),
        (RAVI, {"decision": "Override"}, '"override" on approvalroles/risk'),
        (REVOKER, {"decision": "Revoke"}, None),
        (REVOKER, {"decision": "Withdraw"}, '"approve" on approvalroles/risk'),
        (OVERRIDER, {"decision": "Override"}, None),
        (OVERRIDER, {"decision": "Withdraw"}, None),
        (OVERRIDER, {}, '"approve" on approvalroles/risk'),
        (RAVI, {"expirationTime": "2026-05-01T00:00:00Z"}, "spec.expirationTime must lie in the future"),
        (RAVI, {"expirationTime": "2027-05-01T00:00:00Z"}, None),
        (RAVI, {"expirationTime": "2027-05-01T00:00:01Z"}, "by one year at most"),
        (Caller("ravi", ("system:masters",), may=RAVI.may), {}, "only people decide"),
        (Caller("ravi", ("system:serviceaccounts",), may=RAVI.may), {}, "only people decide"),
    ],
)
def test_the_approver_must_be_the_caller_and_hold_the_verb_for_the_role(
    policies: dict[str, Json], caller: Caller, spec: Json, said: str | None
) -> None:
    refusals = decide(policies["tunegate-approver"], caller, approval(**spec))
    assert any(said in one for one in refusals) if said else refusals == []


@pytest.mark.parametrize(
    ("addresses", "caller", "refused"),
    [
        (["203.0.113.7"], ERIN, False),
        (["203.0.114.7"], ERIN, True),
        (["203.0.113.7", "10.96.0.1"], ERIN, True),
        (["10.96.0.1"], Caller("mary", may=[("maintain", "tunegate.io/installations/tunegate")]), False),
    ],
)
def test_services_may_only_claim_addresses_of_the_site(
    policies: dict[str, Json], addresses: list[str], caller: Caller, refused: bool
) -> None:
    service = {"kind": "Service", "metadata": {"name": "s"}, "spec": {"externalIPs": addresses}}
    assert bool(decide(policies["tunegate-addresses"], caller, service)) is refused
