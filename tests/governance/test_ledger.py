"""The ledger: every change of a record shows, two writers never share a place, one event is recorded once."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.errors import Terminal
from tunegate.kube.client import AlreadyExists, ObjectRef
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Json = dict[str, Any]


class Store:
    """What the API server does with records: names are unique, nothing else is checked."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}

    async def get(self, ref: ObjectRef) -> Json | None:
        await asyncio.sleep(0)
        return copy.deepcopy(self.objects.get(ref.name))

    async def list(self, api_version: str, kind: str) -> list[Json]:
        await asyncio.sleep(0)
        return copy.deepcopy(sorted(self.objects.values(), key=lambda one: str(one["metadata"]["name"]), reverse=True))

    async def create(self, obj: Json) -> Json:
        await asyncio.sleep(0)
        name = obj["metadata"]["name"]
        if name in self.objects:
            raise AlreadyExists(name)
        self.objects[name] = copy.deepcopy(obj)
        return obj


def entry(number: int, **payload: str) -> AuditEntry:
    subject = AuditSubject("ModelRelease", "team", f"release-{number % 3}", f"uid-{number % 3}")
    return AuditEntry("ApprovalRecorded", "ravi", subject, str(number), payload)


def records(length: int) -> list[Json]:
    previous: AuditRecordSpec | None = None
    made = []
    for number in range(length):
        previous = chain.next_record(entry(number, role="risk"), previous, NOW + timedelta(minutes=number))
        made.append(chain.record_object(previous))
    return made


def test_untouched_chain_verifies_in_any_order() -> None:
    assert chain.verify(reversed(records(7))) == []


@pytest.mark.attack(29)
@given(
    st.integers(0, 6),
    st.sampled_from(["actor", "time", "type", "payload", "subject", "eventId", "previousHash", "sequence"]),
)
def test_change_of_any_field_shows(index: int, field: str) -> None:
    made = records(7)
    spec = made[index]["spec"]
    changed = {
        "actor": "somebody", "time": "2026-11-24T11:00:00Z", "type": "ReleaseApproved", "payload": {"role": "legal"},
        "subject": {**spec["subject"], "name": "other"}, "eventId": "sha256:" + "1" * 64,
        "previousHash": "sha256:" + "2" * 64, "sequence": 99,
    }  # fmt: skip
    spec[field] = changed[field]
    assert chain.verify(made)


@pytest.mark.attack(29)
@given(st.integers(0, 5), st.data())
def test_change_with_a_new_hash_shows_at_the_next_record(index: int, data: st.DataObject) -> None:
    made = records(7)
    forged = AuditRecordSpec.model_validate(
        {**made[index]["spec"], "actor": data.draw(st.sampled_from(["eve", "dan"]))}
    )
    made[index]["spec"] = forged.model_copy(update={"hash": chain.record_hash(forged)}).to_dict()
    assert [problem.where for problem in chain.verify(made)] == [chain.record_name(index + 2)]


@pytest.mark.attack(29)
@given(st.integers(0, 5))
def test_missing_record_shows(index: int) -> None:
    made = records(7)
    del made[index]
    assert any("is missing" in str(problem) for problem in chain.verify(made))


@pytest.mark.attack(29)
def test_field_that_the_hash_does_not_cover_shows() -> None:
    made = records(2)
    made[0]["spec"]["note"] = "added later"
    assert chain.verify(made) == [chain.Problem("audit-0000000001", "has fields that the hash does not cover")]


@pytest.mark.attack(29, 38)
def test_cut_off_tail_shows_only_against_an_anchor() -> None:
    made = records(7)
    anchor = chain.Head.parse(str(chain.Head(7, made[6]["spec"]["hash"])))
    assert chain.verify(made[:5]) == []
    assert "the tail was cut" in str(chain.verify(made[:5], anchor)[0])


@pytest.mark.attack(29, 38)
def test_ledger_written_anew_shows_against_an_anchor() -> None:
    old = records(3)
    anchor = chain.Head(3, old[2]["spec"]["hash"])
    previous = None
    new = []
    for number in range(3):
        previous = chain.next_record(entry(number, role="legal"), previous, NOW)
        new.append(chain.record_object(previous))
    assert chain.verify(new) == []
    assert "another hash than the anchor" in str(chain.verify(new, anchor)[0])


@pytest.mark.attack(24)
def test_time_never_goes_back() -> None:
    first = chain.next_record(entry(1), None, NOW)
    second = chain.next_record(entry(2), first, NOW - timedelta(days=1))
    assert second.time == first.time


async def test_many_writers_make_one_unbroken_chain_without_doubles() -> None:
    store = Store()
    writers = [LedgerWriter(store, lambda: NOW) for _ in range(4)]
    await asyncio.gather(*(writer.append(entry(number)) for number in range(12) for writer in writers))
    assert len(store.objects) == 12
    assert chain.verify(store.objects.values()) == []


async def test_event_recorded_before_a_crash_is_found_again() -> None:
    store = Store()
    first = await LedgerWriter(store, lambda: NOW).append(entry(1))
    again = await LedgerWriter(store, lambda: NOW + timedelta(hours=1)).append(entry(1))
    assert again == first
    assert len(store.objects) == 1


async def test_nothing_is_appended_to_a_broken_chain_but_it_can_still_be_read() -> None:
    store = Store()
    writer = LedgerWriter(store, lambda: NOW)
    await writer.append(entry(0))
    await writer.append(entry(1))
    store.objects["audit-0000000001"]["spec"]["actor"] = "eve"
    fresh = LedgerWriter(store, lambda: NOW)
    with pytest.raises(Terminal, match="does not verify"):
        await fresh.append(entry(2))
    assert [record.actor for record in await fresh.of_subject("uid-0")] == ["eve"]


async def test_records_of_one_kind_and_namespace_are_found_oldest_first() -> None:
    writer = LedgerWriter(Store(), lambda: NOW)
    subjects = [("FineTuneJob", "team"), ("FineTuneJob", "other"), ("ModelRelease", "team"), ("FineTuneJob", "team")]
    for number, (kind, namespace) in enumerate(subjects):
        await writer.append(AuditEntry("JobFinished", "o", AuditSubject(kind, namespace, "n", f"u{number}"), "k"))

    assert [one.subject.uid for one in await writer.of_namespace("FineTuneJob", "team")] == ["u0", "u3"]


async def test_foreign_record_that_does_not_fit_is_noticed_while_running() -> None:
    store = Store()
    writer = LedgerWriter(store, lambda: NOW)
    await writer.append(entry(0))
    other = chain.next_record(entry(5), None, NOW).model_copy(update={"sequence": 2})
    store.objects["audit-0000000002"] = chain.record_object(other)
    with pytest.raises(Terminal):
        await writer.append(entry(1))


async def test_entry_that_the_api_would_refuse_needs_a_person() -> None:
    with pytest.raises(Terminal, match="payload"):
        await LedgerWriter(Store(), lambda: NOW).append(entry(1, text="x" * 3000))
