"""The ledger: every change of a record shows, two writers never share a place, one event is recorded once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ledgers import NOW, Json, Store, entry
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.digests import canonical, sha256
from tunegate.errors import Terminal
from tunegate.kube.client import ObjectRef
from tunegate.ledger import chain
from tunegate.ledger.chain import Head, Problem
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.sequence import ordered
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter


class CountingStore(Store):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def get(self, ref: ObjectRef) -> Json | None:
        self.asked.append("get")
        return await super().get(ref)

    async def create(self, obj: Json) -> Json:
        self.asked.append("create")
        return await super().create(obj)


def problems(objects: Iterable[Json], noted: Head | None = None) -> list[Problem]:
    """What is wrong with records of any order."""
    return list(verify(ordered(objects), noted=noted).problems)


def records(length: int) -> list[Json]:
    previous: AuditRecordSpec | None = None
    made = []
    for number in range(length):
        previous = chain.next_record(entry(number, role="risk"), previous, NOW + timedelta(minutes=number))
        made.append(chain.record_object(previous))
    return made


def test_untouched_chain_verifies_in_any_order() -> None:
    assert problems(reversed(records(7))) == []


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
    assert problems(made)


@pytest.mark.attack(29)
@given(st.integers(0, 5), st.data())
def test_change_with_a_new_hash_shows_at_the_next_record(index: int, data: st.DataObject) -> None:
    made = records(7)
    forged = AuditRecordSpec.model_validate(
        {**made[index]["spec"], "actor": data.draw(st.sampled_from(["eve", "dan"]))}
    )
    made[index]["spec"] = forged.model_copy(update={"hash": chain.record_hash(forged)}).to_dict()
    assert [problem.where for problem in problems(made)] == [chain.record_name(index + 2)]


@pytest.mark.attack(29)
@given(st.integers(0, 5))
def test_missing_record_shows(index: int) -> None:
    made = records(7)
    del made[index]
    assert any("is missing" in str(problem) for problem in problems(made))


@pytest.mark.attack(29)
def test_a_field_that_was_added_later_shows() -> None:
    made = records(2)
    made[0]["spec"]["note"] = "added later"
    found = problems(made)[0]
    assert found.where == "audit-0000000001"
    assert "hash does not fit the content" in found.message


@pytest.mark.attack(29, 38)
def test_cut_off_tail_shows_only_against_a_noted_head() -> None:
    made = records(7)
    noted = Head.parse(str(Head(7, made[6]["spec"]["hash"])))
    assert problems(made[:5]) == []
    assert "the tail was cut" in str(problems(made[:5], noted)[0])


@pytest.mark.attack(29, 38)
def test_ledger_written_anew_shows_against_a_noted_head() -> None:
    old = records(3)
    noted = Head(3, old[2]["spec"]["hash"])
    previous = None
    new = []
    for number in range(3):
        previous = chain.next_record(entry(number, role="legal"), previous, NOW)
        new.append(chain.record_object(previous))
    assert problems(new) == []
    assert "another hash than the noted head" in str(problems(new, noted)[0])


@pytest.mark.parametrize("sequence", [1.0, True, "1", 0, -1, 2**53])
def test_number_in_another_form_is_no_sequence(sequence: object) -> None:
    made = records(1)
    made[0]["spec"]["sequence"] = sequence
    assert "not an audit record" in problems(made)[0].message


@pytest.mark.parametrize("time", ["2026-11-24T12:00:00+00:00", "2026-11-24T12:00:00.000Z", "٢٠٢٦-11-24T12:00:00Z"])
def test_time_in_another_form_is_refused_since_times_are_compared_as_text(time: str) -> None:
    made = records(1)
    made[0]["spec"]["time"] = time
    made[0]["spec"]["hash"] = chain.content_hash(made[0]["spec"])
    assert "not an audit record" in problems(made)[0].message


def test_half_of_a_surrogate_pair_is_a_problem_and_no_crash() -> None:
    made = records(1)
    made[0]["spec"]["actor"] = "ravi\ud800"
    assert "not Unicode" in problems(made)[0].message


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=5), st.text(max_size=10))
def test_hash_is_that_of_the_canonical_json_whatever_the_text(payload: dict[str, str], actor: str) -> None:
    spec = {**records(1)[0]["spec"], "payload": payload, "actor": actor}
    content = {key: value for key, value in spec.items() if key != "hash"}
    assert chain.content_hash(spec) == sha256(chain.DOMAIN + canonical(content))


@pytest.mark.parametrize("change", [{"name": "audit-0000000002"}, {"labels": {}}, {"labels": {"a": "b"}}])
def test_name_and_label_must_fit_the_content(change: Json) -> None:
    made = records(1)
    made[0]["metadata"].update(change)
    assert len(problems(made)) == 1


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
    assert problems(store.objects.values()) == []


async def test_a_writer_that_is_alone_appends_by_one_request_and_reads_first_what_others_wrote() -> None:
    store = CountingStore()
    alone, other = LedgerWriter(store), LedgerWriter(store)
    await alone.append(entry(0))
    store.asked.clear()

    await alone.append(entry(1))
    assert store.asked == ["create"]

    await other.append(entry(2))
    store.asked.clear()
    await alone.append(entry(2))
    assert store.asked == ["create", "get", "get"], "the place is taken, and the same event is found there"
    assert problems(store.objects.values()) == []
    assert len(store.objects) == 3


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
    await writer.append(AuditEntry("JobRequested", "o", AuditSubject("FineTuneJob", "team", "n", "u4"), "k"))

    async def found(since: datetime) -> list[str]:
        records = await writer.of_namespace("FineTuneJob", "team", ("JobFinished",), since)
        return [one.subject.uid for one in records]

    assert await found(NOW) == ["u0", "u3"]
    assert await found(NOW + timedelta(seconds=1)) == []


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
