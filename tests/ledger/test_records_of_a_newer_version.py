"""Records that a newer version wrote are chained, signed and followed like all others; what they mean is reported as unknown."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.ledgers import NOW, Clock, Json, Store, entry, new_key, sealed_ledger
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.cli.main import main
from tunegate.ledger import chain
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter

KEY = new_key()
LATER: dict[str, Any] = {"type": "AdapterExported", "region": "eu-1", "labels": {"team": "licenses"}}


def appended(store: Store, **changes: Any) -> str:
    """Put a record that a newer version made at the end of the ledger; return its name."""
    last = AuditRecordSpec.model_validate(store.records[-1]["spec"]) if store.objects else None
    made = chain.record_object(chain.next_record(entry(90 + len(store.objects)), last, NOW))
    made["spec"] |= changes
    made["spec"]["hash"] = chain.content_hash(made["spec"])
    store.objects[made["metadata"]["name"]] = made
    return str(made["metadata"]["name"])


@pytest.fixture
async def store() -> Store:
    return await sealed_ledger(KeyRing(KEY), (3,))


async def test_the_operator_goes_on_after_them_and_says_so_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    name = appended(store, **LATER)
    appended(store, **LATER)
    writer = LedgerWriter(store, Clock(), keys=[KEY.public])
    with caplog.at_level(logging.WARNING):
        await writer.append(entry(200))
        assert await writer.problems() == []
        assert await writer.reread() == []
    assert (await writer.seal(KeyRing(KEY))) is not None
    report = verify(store.records, keys=[KEY.public])
    assert (report.problems, report.unsigned) == ((), 0)
    assert report.later == {"type AdapterExported, field labels, field region": 2}
    (said,) = [one.getMessage() for one in caplog.records]
    assert name in said
    assert "type AdapterExported, field labels, field region" in said


async def test_a_checkpoint_over_one_that_is_the_newest_record_holds(store: Store) -> None:
    appended(store, **LATER)
    writer = LedgerWriter(store, Clock(), keys=[KEY.public])
    assert (await writer.seal(KeyRing(KEY))) is not None
    assert await writer.problems() == []
    assert verify(store.records, keys=[KEY.public]).unsigned == 0


async def test_a_field_of_the_subject_and_a_known_type_count_as_before(store: Store) -> None:
    subject = {**store.records[0]["spec"]["subject"], "cluster": "west"}
    name = appended(store, subject=subject)
    store.objects[name]["metadata"]["labels"] = {chain.SUBJECT_LABEL: subject["uid"]}
    writer = LedgerWriter(store, Clock())
    found = await writer.of_subject(subject["uid"])
    assert await writer.problems() == []
    assert found[-1].type == "ApprovalRecorded"
    assert chain.record_hash(found[-1]) == found[-1].hash


@pytest.mark.attack(29)
@pytest.mark.parametrize("path", [("type",), ("region",), ("labels", "team"), ("labels", "added"), ("added",)])
async def test_what_is_altered_in_one_of_them_is_found(store: Store, path: tuple[str, ...]) -> None:
    name = appended(store, **LATER)
    await LedgerWriter(store, Clock()).seal(KeyRing(KEY))
    forged: Json = copy.deepcopy(store.objects[name])
    place = forged["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "Other"
    store.objects[name] = forged
    assert "the record was changed" in str(verify(store.records, keys=[KEY.public]).problems[0])
    forged["spec"]["hash"] = chain.content_hash(forged["spec"])
    assert verify(store.records, keys=[KEY.public]).problems, "made to fit: the next record and the signature tell"


@pytest.mark.parametrize("value", [1, None, True, 1.5, ["a"], {"a": {"b": "c"}}, {"a": 1}])
async def test_a_later_field_is_a_text_or_a_map_of_texts(store: Store, value: object) -> None:
    made = copy.deepcopy(store.records)
    made[-1]["spec"]["later"] = value
    assert "not an audit record" in str(verify(made).problems[0])


async def test_audit_verify_says_how_many_there_are(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    appended(store, **LATER)
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in store.records))
    assert main(["audit", "verify", "--file", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1 record of a newer version (type AdapterExported, field labels, field region)" in said
    assert "ledger intact: 5 records" in said
