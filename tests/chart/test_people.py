"""The bindings that the chart makes from `people` in its values."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import helm
from tests.support.helm import Json
from tunegate.cli.rights import RIGHTS, Right
from tunegate.rbac import rights

PEOPLE: dict[str, list[dict[str, Any]]] = {
    "requesters": [{"groups": ["ml", "research"]}, {"groups": ["guests"], "namespaces": ["team-b"]}],
    "approvers": [
        {"role": "risk", "groups": ["model-risk"]},
        {"role": "compliance", "groups": ["compliance"], "namespaces": ["team-a"]},
        {"role": "risk", "groups": ["second-line"], "namespaces": ["team-a"]},
    ],
    "evaluationOwners": [{"groups": ["evaluation"]}, {"groups": ["examiners"], "namespaces": ["team-b"]}],
    "dataStewards": [{"groups": ["stewards"]}, {"groups": ["ml"], "namespaces": ["team-a"]}],
    "servingOperators": [{"groups": ["oncall"]}],
    "auditors": [{"groups": ["audit"]}, {"groups": ["supervisor"]}],
    "policyOwners": [{"groups": ["governance"]}],
    "maintainers": [{"groups": ["platform"]}, {"groups": ["platform", "sre"]}],
}
CLUSTER = ""
Place = tuple[str, str, str]


def bindings(people: dict[str, Any]) -> dict[Place, list[str]]:
    """Return the groups of each binding by its namespace, its name and the kind of its role."""
    bound = [
        one
        for one in helm.render(helm.values(people=people))
        if one["kind"] in {"RoleBinding", "ClusterRoleBinding"}
        and one["metadata"]["labels"]["app.kubernetes.io/component"] == "people"
    ]
    assert all(one["metadata"]["name"] == one["roleRef"]["name"] for one in bound)
    return {
        (one["metadata"].get("namespace", CLUSTER), one["metadata"]["name"], one["roleRef"]["kind"]): [
            subject["name"] for subject in one["subjects"]
        ]
        for one in bound
    }


def test_each_role_is_bound_once_in_a_place_to_all_its_groups() -> None:
    team_a = {
        "tunegate-requester": ["ml", "research"],
        "tunegate-approver": ["model-risk", "compliance", "second-line"],
        "tunegate-approver-risk": ["model-risk", "second-line"],
        "tunegate-approver-compliance": ["compliance"],
        "tunegate-evaluation-owner": ["evaluation"],
        "tunegate-evidence-reader": ["model-risk", "compliance", "second-line", "evaluation"],
        "tunegate-data-steward": ["stewards", "ml"],
        "tunegate-serving-operator": ["oncall"],
    }
    team_b = {
        "tunegate-requester": ["ml", "research", "guests"],
        "tunegate-approver": ["model-risk"],
        "tunegate-approver-risk": ["model-risk"],
        "tunegate-evaluation-owner": ["evaluation", "examiners"],
        "tunegate-evidence-reader": ["model-risk", "evaluation", "examiners"],
        "tunegate-data-steward": ["stewards"],
        "tunegate-serving-operator": ["oncall"],
    }
    requesters, approvers = ["ml", "research", "guests"], ["model-risk", "compliance", "second-line"]
    cluster = {
        "tunegate-catalogue-reader": [*requesters, *approvers, "evaluation", "examiners", "oncall"],
        "tunegate-pool-user": requesters,
        "tunegate-auditor": ["audit", "supervisor"],
        "tunegate-evidence-reader": ["audit", "supervisor"],
        "tunegate-policy-owner": ["governance"],
        "tunegate-maintainer": ["platform", "sre"],
    }
    places = {CLUSTER: cluster, "team-a": team_a, "team-b": team_b}
    expected: dict[Place, list[str]] = {
        (place, role, "ClusterRole"): groups for place, held in places.items() for role, groups in held.items()
    }
    for place in (helm.SYSTEM, "team-a", "team-b"):
        expected[place, "tunegate-auditor", "Role"] = ["audit", "supervisor"]
    expected[helm.SYSTEM, "tunegate-maintainer", "Role"] = ["platform", "sre"]
    assert bindings(PEOPLE) == expected


@pytest.mark.parametrize("part", PEOPLE)
def test_removing_an_entry_removes_its_groups_and_renames_no_binding(part: str) -> None:
    """Helm would delete a renamed binding and create the other: for a moment nobody would hold the role."""
    before, after = bindings(PEOPLE), bindings({**PEOPLE, part: PEOPLE[part][1:]})
    assert set(after) <= set(before)
    gone = set(PEOPLE[part][0]["groups"])
    for place, groups in before.items():
        left = after.get(place, [])
        assert set(left) <= set(groups)
        assert set(groups) - set(left) <= gone, place


def test_no_people_means_no_bindings() -> None:
    assert bindings({}) == {}


def test_a_namespace_that_is_not_governed_is_refused() -> None:
    people = {"requesters": [{"groups": ["ml"], "namespaces": ["team-c"]}]}
    assert "people: namespace team-c is not among governedNamespaces" in helm.refusal(helm.values(people=people))


def test_suites_and_policies_are_two_duties() -> None:
    """Who writes the questions does not say which questions count."""
    objects = helm.render(helm.values())
    writing: dict[str, set[str]] = {"evaluationsuites": set(), "approvalpolicies": set()}
    for role in (one for one in objects if one["kind"] in {"ClusterRole", "Role"}):
        for rule in role.get("rules") or ():
            for resource in {"evaluationsuites", "approvalpolicies"} & set(rule["resources"]):
                if {"create", "update", "patch", "delete"} & set(rule["verbs"]):
                    writing[resource].add(role["metadata"]["name"])
    assert writing == {
        "evaluationsuites": {"tunegate-evaluation-owner"},
        "approvalpolicies": {"tunegate-policy-owner"},
    }


@pytest.mark.parametrize("right", [pytest.param(right, id=right.does) for right in RIGHTS])
def test_tunegate_access_names_the_values_that_give_a_right(right: Right) -> None:
    keys = [key for key in PEOPLE if key != "approvers"]
    people = {key: [{"groups": [key]}] for key in keys} | {
        "approvers": [{"role": "model-risk", "groups": ["approvers"]}]
    }
    kinds: dict[str, list[Json]] = {}
    for obj in helm.render(helm.values(people=people)):
        kinds.setdefault(obj["kind"], []).append(obj)
    bound = rights.Rights(rights.grants(*(
        kinds.get(kind, []) for kind in ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")
    )))  # fmt: skip
    need = rights.Need((right.verb,), right.group, right.resource, right.name)
    holders = bound.holders([need], "" if right.everywhere else "team-a")
    assert {subject.name for subject in holders if subject.kind == "Group"} == set(right.people)
