"""Who holds which power: what a change is, how it is recorded, and how the ledger gives it back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import helm
from tunegate.cli.doctor import powers
from tunegate.cli.doctor.check import Check
from tunegate.cli.main import main
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry
from tunegate.rbac.duties import WRITES_AND_APPROVES
from tunegate.rbac.holders import ADMINISTRATORS, EVENT, Holders, holders, in_words, payloads, replayed, subject_of
from tunegate.rbac.rights import Grant, Rights, Subject, grants

Json = dict[str, Any]
SYSTEM = "tunegate-system"
KINDS = ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")
PEOPLE = {
    "requesters": [{"groups": ["engineers"]}],
    "approvers": [{"role": "risk", "groups": ["model-risk"]}],
}
IMPERSONATE = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


@cache
def chart(owners: str) -> tuple[Grant, ...]:
    objects = helm.render(helm.values(people={**PEOPLE, "policyOwners": [{"groups": [owners]}]}))
    return tuple(grants(*([one for one in objects if one["kind"] == kind] for kind in KINDS)))


def held(*more: Grant, owners: str = "model-governance") -> dict[str, frozenset[str]]:
    return holders(Rights([*chart(owners), *more]), SYSTEM, ["team-a"])


def given_to(subject: Subject, rule: Json = IMPERSONATE, namespace: str = "") -> Grant:
    return Grant(subject, (rule,), namespace)


def test_the_chart_gives_no_power_and_no_two_duties_to_anybody() -> None:
    assert {power for power, names in held().items() if names} == set()


def test_who_got_and_who_lost_a_power_is_told_in_words() -> None:
    sre, ops = Subject("Group", "sre"), Subject("User", "ops")
    (gained,) = payloads(held(given_to(sre)), held(given_to(ops)), "2026-11-24T12:00:00Z")
    assert gained == {
        "since": "2026-11-24T12:00:00Z",
        "added impersonate people": '["user ops"]', "removed impersonate people": '["group sre"]',
    }  # fmt: skip
    assert in_words(gained) == "user ops can now: impersonate people; group sre can no longer: impersonate people"
    assert list(payloads(held(given_to(ops)), held(given_to(ops)), "")) == []


def test_who_may_do_everything_is_named_once_and_overlapping_duties_are_powers_too() -> None:
    found = held(given_to(Subject("Group", "sre"), EVERYTHING), owners="model-risk")
    assert {power: names for power, names in found.items() if names} == {
        ADMINISTRATORS: {"group sre"}, WRITES_AND_APPROVES: {"group model-risk"},
    }  # fmt: skip


def test_of_tunegates_own_accounts_only_what_the_chart_gives_the_operator_is_passed_over() -> None:
    for name, namespace in (("tunegate-operator", SYSTEM), ("tunegate-stage", "team-a"), ("tunegate-serving", "other")):
        account = Subject("ServiceAccount", name, namespace)
        assert held(given_to(account))["impersonate people"] == {f"service account {namespace}/{name}"}


NAMES = st.frozensets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400), max_size=30)
STATES = st.lists(st.dictionaries(st.sampled_from(["impersonate people", "write rights"]), NAMES), max_size=4)


def records(*states: dict[str, frozenset[str]]) -> list[Json]:
    """Return what a ledger holds after these states, an hour apart, each seen first half an hour before."""
    found: list[Any] = []
    before: dict[str, frozenset[str]] = {}
    for number, state in enumerate(states):
        hour = 10 + number
        for payload in payloads(before, state, f"2026-11-24T{hour - 1}:30:00Z" if found else ""):
            entry = AuditEntry(EVENT, "tunegate-operator", subject_of(SYSTEM), str(len(found)), payload)
            now = datetime(2026, 11, 24, hour, tzinfo=UTC)
            found.append(chain.next_record(entry, found[-1] if found else None, now))
        before = state
    return [chain.record_object(one) for one in found]


@given(STATES)
def test_the_ledger_gives_back_who_holds_what(states: list[dict[str, frozenset[str]]]) -> None:
    named = [
        {power: holders(Rights([given_to(Subject("User", one)) for one in names]), SYSTEM, [])["impersonate people"]
         for power, names in state.items()}
        for state in states
    ]  # fmt: skip
    specs = [one["spec"] for one in records(*named)]
    last = named[-1] if named else {}
    assert {power: names for power, names in replayed(specs).items() if names} == {p: n for p, n in last.items() if n}


def test_a_record_that_was_altered_keeps_nobody_from_reading_the_others() -> None:
    specs = [record["spec"] for record in records({"write rights": frozenset({"user root"})})]
    altered = [{"payload": {"since": "", "added write rights": text}} for text in ("[", "7", '[["user fool"]]')]
    assert "user root" in replayed([*altered, *specs])["write rights"]


def test_a_name_without_end_is_cut_and_still_told_from_others() -> None:
    long = [held(given_to(Subject("User", "x" * 5000 + end)))["impersonate people"] for end in ("a", "b")]
    assert long[0] != long[1]
    assert all(len(name) < 250 for names in long for name in names)


def export(tmp_path: Path, *states: dict[str, frozenset[str]]) -> str:
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in records(*states)))
    return str(path)


def test_an_auditor_asks_who_could_have_impersonated_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody, sre = {"impersonate people": frozenset[str]()}, {"impersonate people": frozenset({"group sre"})}
    file = export(tmp_path, {"write rights": frozenset({"user root"})}, sre, nobody)

    def asked(at: str) -> list[str]:
        assert main(["audit", "powers", "--file", file, "--at", f"2026-11-24T{at}Z"]) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[2:]]

    assert asked("10:10:00") == ["write rights user root"]
    assert asked("10:40:00") == [
        "write rights user root",
        "changed between 2026-11-24T10:30:00Z and 2026-11-24T11:00:00Z, perhaps before that moment: "
        "group sre can now: impersonate people; user root can no longer: write rights",
    ]
    assert asked("11:00:00") == ["impersonate people group sre", "write rights nobody"]
    assert asked("12:00:00") == ["impersonate people nobody", "write rights nobody"]
    assert main(["audit", "powers", "--file", file, "--at", "2026-11-24T09:00:00Z"]) == 1
    assert "nobody looked who held which power before 2026-11-24T09:00:00+00:00" in capsys.readouterr().err


def test_a_broken_ledger_tells_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(export(tmp_path, {"write rights": frozenset({"user root"})}))
    file.write_text(file.read_text().replace("user root", "user fool"))
    assert main(["audit", "powers", "--file", str(file)]) == 1
    assert "the ledger is broken" in capsys.readouterr().err


def test_doctor_tells_the_last_change_and_what_the_operator_has_not_recorded() -> None:
    settings = {"TUNEGATE_POWERS_SECONDS": "600"}
    one, two = {"write rights": frozenset({"user root"})}, {"write rights": frozenset[str]()}
    specs = [record["spec"] for record in records(one, two)]

    def recorded(records: list[Json], held: Holders, settings: dict[str, str]) -> Check:
        return powers.recorded(records, held, SYSTEM, settings)

    assert recorded([], two, settings).state == "WARN"
    assert recorded(specs, two, {"TUNEGATE_POWERS_SECONDS": "0"}).found == "the operator does not look"
    assert recorded(specs[:1], one, settings).found == "2026-11-24T10:00:00Z: first look"
    assert recorded(specs, two, settings).found == "2026-11-24T11:00:00Z: user root can no longer: write rights"
    elsewhere = powers.recorded(specs, one, "another-system", settings)
    assert elsewhere.found == "no record that the operator ever looked"
    behind = recorded(specs, one, settings)
    assert (behind.state, behind.found) == (
        "WARN", "not recorded since 2026-11-24T11:00:00Z: user root can now: write rights",
    )  # fmt: skip
