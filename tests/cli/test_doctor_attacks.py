"""How doctor judges signs of attacks: what stands under Tunegate's names, leads to its gateways or is told by the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.ledgers import NOW
from tunegate.cli.doctor import attacks
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry, AuditSubject

Json = dict[str, Any]
OURS = {"app.kubernetes.io/managed-by": "tunegate"}
OWNERS = {"uid-of-the-server"}
OWNERLESS = {"tunegate-ca"}


def made(name: str, labels: dict[str, str] | None = None, owner: str | None = None, kind: str = "ConfigMap") -> Json:
    owners = [{"kind": "ModelServer", "uid": owner, "controller": True}] if owner else []
    metadata = {"name": name, "namespace": "team-a", "labels": labels or {}, "ownerReferences": owners}
    return {"kind": kind, "metadata": metadata}


@pytest.mark.attack(51, 52, 59, 61, 69)
@pytest.mark.parametrize(
    ("planted", "named"),
    [
        (made("tunegate-licenses-routes"), "ConfigMap tunegate-licenses-routes"),
        (made("tunegate-licenses-routes", OURS, "uid-of-another-server"), "ConfigMap tunegate-licenses-routes"),
        (made("licenses", OURS, kind="Service"), "Service licenses"),
        (made("tunegate-ca", OURS, "uid-of-another-server"), "ConfigMap tunegate-ca"),
    ],
    ids=["a name", "a name with another owner", "a label", "an owner where there is none"],
)
def test_an_object_that_is_not_the_operators_under_its_name_or_label_is_named(planted: Json, named: str) -> None:
    check = attacks.foreign("team-a", [planted], OWNERS, OWNERLESS)
    assert (check.state, check.found) == ("FAIL", named)


def test_objects_of_the_operator_the_chart_and_people_are_no_sign_of_an_attack() -> None:
    objects = [
        made("tunegate-licenses-routes", OURS, "uid-of-the-server"),
        made("tunegate-ca", OURS),
        made("tunegate-stage", {"app.kubernetes.io/managed-by": "Helm"}, kind="ServiceAccount"),
        made("notes"),
    ]
    assert attacks.foreign("team-a", objects, OWNERS, OWNERLESS).state == "OK"


@pytest.mark.attack(62)
def test_a_service_that_claims_an_address_is_named_with_it() -> None:
    claiming = {"metadata": {"namespace": "team-b", "name": "mine"}, "spec": {"externalIPs": ["10.96.0.7"]}}
    plain: Json = {"metadata": {"namespace": "team-b", "name": "other"}, "spec": {}}
    check = attacks.addresses([plain, claiming])
    assert (check.state, check.found) == ("FAIL", "team-b/mine (10.96.0.7)")
    assert attacks.addresses([plain]).state == "OK"


@pytest.mark.attack(66)
def test_a_network_policy_beside_the_charts_is_named() -> None:
    chart, more = made("tunegate-default-deny"), made("open-all")
    assert attacks.network("team-a", [chart]).state == "OK"
    assert attacks.network("team-a", [chart, more]).found == "open-all"


@pytest.mark.attack(60)
def test_a_server_with_an_image_that_is_not_on_the_list_is_named() -> None:
    server = {
        "metadata": {"namespace": "team-a", "name": "s"},
        "spec": {"profile": {"image": "example.org/engine@sha256:1"}},
    }
    assert attacks.engines([server], ["example.org/engine@sha256:1"]).state == "OK"
    check = attacks.engines([server], [])
    assert (check.state, check.found) == ("FAIL", "team-a/s (example.org/engine@sha256:1)")


@pytest.mark.attack(53)
def test_a_pod_that_has_not_confirmed_a_revocation_is_named() -> None:
    closing = {"servedName": "holders-1f2e3d4c", "startTime": "2026-11-01T00:00:00Z", "pods": ["licenses-engine-1"]}
    server: Json = {"metadata": {"namespace": "team-a", "name": "s"}, "status": {"closings": [closing]}}
    check = attacks.closings([server])
    assert (check.state, check.found) == ("FAIL", "holders-1f2e3d4c in team-a/s (licenses-engine-1)")
    closing["pods"] = []
    assert attacks.closings([server]).state == "OK"


@pytest.mark.attack(58)
def test_a_base_model_on_a_claim_that_others_may_replace_is_named() -> None:
    server: Json = {"metadata": {"namespace": "team-a", "name": "s"}, "status": {"baseVolume": "Open"}}
    assert attacks.volumes([server]).found == "may be replaced under team-a/s"
    server["status"]["baseVolume"] = "Protected"
    assert attacks.volumes([server]).state == "OK"


@pytest.mark.attack(57)
def test_a_suite_that_was_tried_often_is_named_with_the_number() -> None:
    suite: Json = {"metadata": {"namespace": "team-a", "name": "exam"}, "status": {"tries": {"total": 20}}}
    assert attacks.tries([suite]).found == "team-a/exam (20)"
    suite["status"]["tries"]["total"] = 2
    assert attacks.tries([suite]).state == "OK"


@pytest.mark.attack(70)
def test_who_reached_a_bound_is_named() -> None:
    usage: Json = {
        "metadata": {"namespace": "team-a"},
        "spec": {"reached": [{"username": "ravi", "bound": "Approvals"}]},
    }
    assert attacks.floods([usage]).found == "ravi (approvals in team-a)"
    assert attacks.floods([{**usage, "spec": {}}]).state == "OK"


@pytest.mark.attack(51, 52, 53, 59, 61, 64, 69)
def test_what_the_ledger_tells_of_attacks_is_counted_and_the_last_record_named() -> None:
    subject = AuditSubject("ModelServer", "team-a", "licenses", "uid-of-the-server")
    previous, records = None, []
    for key in ("one", "two"):
        entry = AuditEntry("ForeignObjectFound", "operator", subject, key, {"object": "ConfigMap team-a/tunegate-x"})
        previous = chain.next_record(entry, previous, NOW)
        records.append(previous.to_dict())
    check = attacks.told(records)
    assert check.state == "WARN"
    assert check.found.startswith("an object that was not Tunegate's under its name (2); the last at ")
    assert check.found.endswith("on ModelServer team-a/licenses")
    assert check.advice == "kubectl describe auditrecord audit-0000000002"
    assert attacks.told([]).state == "OK"
