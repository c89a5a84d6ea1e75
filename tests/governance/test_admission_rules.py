"""Live admission policies beside those of the chart, and the times for which nobody vouches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.helm import environment, one, render, values
from tunegate.admission.definitions import definitions
from tunegate.admission.rules import Rule, differences, fingerprint, parse, subject_of, unguarded, windows
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.errors import Terminal
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry

Json = dict[str, Any]


@pytest.fixture(scope="module")
def chart() -> list[Json]:
    return render(values())


@pytest.fixture(scope="module")
def expected(chart: list[Json]) -> tuple[Rule, ...]:
    """What the operator of the chart is given."""
    volumes = one(chart, "Deployment", "tunegate-operator")["spec"]["template"]["spec"]["volumes"]
    name = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "admission")
    assert environment(chart)["TUNEGATE_ADMISSION_RULES"] == "/etc/tunegate/admission/rules.yaml"
    return parse(one(chart, "ConfigMap", name)["data"]["rules.yaml"])


@pytest.fixture
def live(chart: list[Json]) -> dict[str, Json]:
    """The policies and bindings as the API server would hold them, by the first letter of the kind's end and name."""
    found = {}
    for obj in copy.deepcopy(chart):
        if not obj["kind"].startswith("ValidatingAdmissionPolicy"):
            continue
        obj["metadata"] |= {"uid": f"uid-{obj['kind']}-{obj['metadata']['name']}", "generation": 1}
        places = [obj["spec"].get("matchConstraints"), obj["spec"].get("matchResources")]
        for place in filter(None, places):
            filled = {"matchPolicy": "Equivalent", "objectSelector": {}, "namespaceSelector": {}, **place}
            place.update(filled)
            for rule in place.get("resourceRules", ()):
                rule["scope"] = rule.get("scope", "*")
        found[("binding " if obj["kind"].endswith("Binding") else "") + obj["metadata"]["name"]] = obj
    return found


def test_every_policy_and_binding_of_the_chart_is_looked_after(
    expected: tuple[Rule, ...], live: dict[str, Json]
) -> None:
    assert {(rule.kind, rule.name) for rule in expected} == {
        (obj["kind"], obj["metadata"]["name"]) for obj in live.values()
    }
    assert len(expected) > 10
    assert differences(expected, live.values()) == []


def spec(name: str) -> Callable[[dict[str, Json]], Json]:
    return lambda live: live[name]["spec"]


APPROVER, BINDING = spec("tunegate-approver"), spec("binding tunegate-approver")


@pytest.mark.attack(31)
@pytest.mark.parametrize(
    ("alter", "place"),
    [
        (lambda live: live.pop("tunegate-approver"), "ValidatingAdmissionPolicy tunegate-approver is missing"),
        (lambda live: live.pop("binding tunegate-crds"), "ValidatingAdmissionPolicyBinding tunegate-crds is missing"),
        (lambda live: APPROVER(live)["validations"].pop(), "spec.validations was changed"),
        (lambda live: APPROVER(live)["validations"][0].update(expression="true"), "validations[0].expression was changed"),
        (lambda live: APPROVER(live).update(failurePolicy="Ignore"), "spec.failurePolicy was changed"),
        (lambda live: APPROVER(live).update(matchConditions=[{"name": "x", "expression": "false"}]), "matchConditions was added"),
        (lambda live: APPROVER(live).update(paramKind={"kind": "ConfigMap"}), "spec.paramKind was added"),
        (lambda live: APPROVER(live)["matchConstraints"].update(matchPolicy="Exact"), "matchPolicy was added"),
        (lambda live: APPROVER(live)["matchConstraints"].update(excludeResourceRules=[{}]), "excludeResourceRules was added"),
        (
            lambda live: APPROVER(live)["matchConstraints"].update(objectSelector={"matchLabels": {"a": "b"}}),
            "objectSelector was added",
        ),
        (lambda live: APPROVER(live)["matchConstraints"]["resourceRules"][0].update(scope="Cluster"), "scope was added"),
        (lambda live: APPROVER(live)["matchConstraints"]["resourceRules"][0]["operations"].append("UPDATE"), "operations"),
        (lambda live: BINDING(live).update(validationActions=["Audit"]), "spec.validationActions was changed"),
        (lambda live: BINDING(live).update(paramRef={"name": "x"}), "spec.paramRef was added"),
        (lambda live: BINDING(live).update(policyName="other"), "spec.policyName was changed"),
        (
            lambda live: BINDING(live)["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"].pop(),
            "values was changed",
        ),
    ],
)  # fmt: skip
def test_what_narrows_a_rule_is_found(
    alter: Callable[[dict[str, Json]], object], place: str, expected: tuple[Rule, ...], live: dict[str, Json]
) -> None:
    alter(live)
    found = differences(expected, live.values())
    assert len(found) == 1
    assert place in found[0]


def held(name: str) -> tuple[list[Rule], Json]:
    """Return what a CRD has to be, and the CRD as the API server would hold it."""
    expected = [one for one in definitions() if one.name == f"{name}.tunegate.io"]
    spec = {**copy.deepcopy(dict(expected[0].spec)), "conversion": {"strategy": "None"}}
    metadata = {"name": expected[0].name, "uid": "uid", "generation": 1}
    return expected, {"kind": expected[0].kind, "metadata": metadata, "spec": spec}


def version(crd: Json) -> Json:
    found: Json = crd["spec"]["versions"][0]
    return found


def schema(crd: Json) -> Json:
    found: Json = version(crd)["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


WEBHOOK = {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://example.invalid"}}}


@pytest.mark.attack(44)
@pytest.mark.parametrize(
    ("alter", "place"),
    [
        (lambda crd: schema(crd).pop("x-kubernetes-validations"), "spec.x-kubernetes-validations was removed"),
        (lambda crd: schema(crd)["properties"]["decision"]["enum"].append("Perhaps"), "decision.enum was changed"),
        (lambda crd: schema(crd)["properties"]["reason"].pop("maxLength"), "reason.maxLength was removed"),
        (lambda crd: schema(crd)["required"].pop(), "spec.required was changed"),
        (lambda crd: schema(crd).update({"x-kubernetes-preserve-unknown-fields": True}), "preserve-unknown-fields was added"),
        (lambda crd: crd["spec"].update(preserveUnknownFields=True), "spec.preserveUnknownFields was added"),
        (lambda crd: crd["spec"].update(conversion=WEBHOOK), "spec.conversion was added"),
        (lambda crd: crd["spec"]["versions"].append({**version(crd), "name": "v1"}), "spec.versions was changed"),
        (lambda crd: crd["metadata"].update(deletionTimestamp="2026-11-24T10:00:00Z"), "approvals.tunegate.io is being deleted"),
        (lambda crd: crd["metadata"].update(name="other"), "approvals.tunegate.io is missing, and every object of its kind"),
    ],
)  # fmt: skip
def test_a_crd_that_lets_approvals_change_is_found(alter: Callable[[Json], object], place: str) -> None:
    expected, crd = held("approvals")
    assert differences(expected, [crd]) == []
    alter(crd)
    (found,) = differences(expected, [crd])
    assert place in found


@pytest.mark.attack(44)
def test_a_crd_without_its_status_subresource_is_found() -> None:
    expected, crd = held("modelreleases")
    del version(crd)["subresources"]
    assert differences(expected, [crd]) == [
        "CustomResourceDefinition modelreleases.tunegate.io: spec.versions[0].subresources was removed"
    ]


def test_what_is_a_default_of_a_policy_is_none_in_a_crd() -> None:
    expected, crd = held("approvals")
    schema(crd)["properties"]["scope"] = "*"
    (found,) = differences(expected, [crd])
    assert "properties.scope was added" in found


def test_a_rule_that_was_made_again_or_edited_leaves_a_mark(expected: tuple[Rule, ...], live: dict[str, Json]) -> None:
    before = fingerprint(expected, live.values())
    foreign = {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "foreign", "uid": "1", "generation": 1}}
    assert fingerprint(expected, [*live.values(), foreign]) == before
    live["tunegate-approver"]["metadata"]["generation"] = 2
    edited = fingerprint(expected, live.values())
    live["tunegate-approver"]["metadata"] |= {"generation": 1, "uid": "new"}
    again = fingerprint(expected, live.values())
    assert len({before, edited, again}) == 3


def test_a_file_without_rules_is_refused() -> None:
    with pytest.raises(Terminal, match="holds no admission policy"):
        parse("---\nkind: ConfigMap\n")


def test_before_the_first_look_and_between_two_others_nobody_vouches() -> None:
    records: list[AuditRecordSpec] = []
    for type_, since, until in (
        ("AdmissionVerified", "", "2026-11-24T10:00:00Z"),
        ("AdmissionDrift", "2026-11-24T11:00:00Z", ""),
        ("AdmissionVerified", "2026-11-24T11:00:00Z", "2026-11-24T11:05:00Z"),
    ):
        payload = {"since": since, "until": until}
        entry = AuditEntry(type_, "o", subject_of("tunegate-system"), until or since, payload)  # type: ignore[arg-type]
        records.append(chain.next_record(entry, records[-1] if records else None, datetime.now(UTC)))
    times = windows(records)

    def at(text: str) -> bool:
        return unguarded(datetime.fromisoformat(f"2026-11-24T{text}+00:00"), times)

    assert [at("09:00:00"), at("10:00:00"), at("10:00:01"), at("11:00:00"), at("11:05:00"), at("11:05:01")] == [
        True, True, False, True, True, False,
    ]  # fmt: skip
