"""Signed checkpoints: each is bound to its place, keys hand over to each other, and anchors show what a chain cannot."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.ledgers import NOW, Clock, Json, Store, anchor_of, entry, kept, new_key, new_key_pem, sealed_ledger
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.conditions import rfc3339
from tunegate.errors import Terminal, Transient
from tunegate.keys import PublicKey, SigningKey
from tunegate.ledger import chain
from tunegate.ledger.anchors.anchoring import Checkpoints, due
from tunegate.ledger.anchors.places import Checkpoint, FolderAnchor, read_folder
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import KeyRing, read_seal, seal, sealing_entry
from tunegate.ledger.verify import verify
from tunegate.ledger.writer import LedgerWriter, SinceSeal
from tunegate.strict_json import strict_json

KEY = new_key()
RING = KeyRing(KEY)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rechained(made: list[Json], start: int) -> list[Json]:
    """Give the records from index ``start`` on valid hashes and links, as a forger without a key would."""
    for index in range(start, len(made)):
        spec = made[index]["spec"]
        spec["previousHash"] = made[index - 1]["spec"]["hash"] if index else chain.GENESIS
        spec["hash"] = chain.content_hash(spec)
    return made


async def test_checkpoint_states_the_chain_before_it_and_another_tool_can_verify_it() -> None:
    store = await sealed_ledger(RING, (3,))
    before, last = store.records[2]["spec"], store.records[3]["spec"]
    envelope = json.loads(last["payload"]["envelope"])
    assert json.loads(base64.b64decode(envelope["payload"])) == {
        "ledgerId": store.records[0]["spec"]["hash"][7:39], "size": 3, "head": before["hash"], "ts": last["time"],
    }  # fmt: skip
    assert [one["keyid"] for one in envelope["signatures"]] == [KEY.public.id]
    assert KEY.public.signed(read_seal(last["payload"]["envelope"]).envelope)
    assert not new_key().public.signed(read_seal(last["payload"]["envelope"]).envelope)


async def test_whole_ledger_is_proven_up_to_its_last_checkpoint() -> None:
    store = await sealed_ledger(RING, (3, 4))
    await LedgerWriter(store, Clock()).append(entry(99))
    report = verify(store.records, keys=[KEY.public])
    assert report.problems == ()
    assert report.proven is not None
    assert (report.records, report.proven.sequence, report.unsigned) == (10, 8, 1)


async def test_nothing_is_signed_twice_and_two_writers_sign_once() -> None:
    store = await sealed_ledger(RING, (3,))
    writers = [LedgerWriter(store, Clock()) for _ in range(3)]
    await asyncio.gather(*(writer.seal(RING) for writer in writers))
    await writers[0].append(entry(7))
    await asyncio.gather(*(writer.seal(RING) for writer in writers))
    assert [one["spec"]["type"] for one in store.records].count("CheckpointSigned") == 2
    assert verify(store.records, keys=[KEY.public]).problems == ()


async def test_records_between_a_signature_and_its_place_do_not_part_them() -> None:
    store = Store()
    writers = [LedgerWriter(store, Clock()) for _ in range(3)]
    for number in range(0, 12, 3):
        one, two, three = writers
        await asyncio.gather(one.append(entry(number)), two.append(entry(number + 1)), three.seal(RING))
    assert verify(store.records, keys=[KEY.public]).problems == ()


async def test_empty_ledger_has_no_checkpoint() -> None:
    assert await LedgerWriter(Store(), Clock()).seal(RING) is None


@pytest.mark.attack(29)
async def test_chain_made_anew_from_a_place_on_contradicts_the_next_signature() -> None:
    store = await sealed_ledger(RING, (3, 3, 3))
    made = store.records
    made[5]["spec"]["actor"] = "eve"
    report = verify(rechained(made, 5), keys=[KEY.public])
    assert report.proven is not None
    assert report.proven.sequence == 3
    assert {one.where for one in report.problems} == {"audit-0000000008", "audit-0000000012"}
    assert "signed for another history" in report.problems[0].message
    assert report.problems[0].time


@pytest.mark.attack(38)
async def test_forger_with_a_key_of_his_own_is_told_apart() -> None:
    forged = await sealed_ledger(KeyRing(new_key()), (3,))
    assert verify(forged.records).problems == ()
    report = verify(forged.records, keys=[KEY.public])
    assert "signed nothing here" in report.problems[0].message
    assert report.proven is None


async def test_chain_without_any_signature_proves_nothing() -> None:
    store = await sealed_ledger(RING, (3,))
    report = verify(store.records[:3], keys=[KEY.public])
    assert "no checkpoint" in report.problems[0].message


@pytest.mark.attack(29, 38)
async def test_roll_back_to_an_earlier_checkpoint_shows_against_an_anchor_only() -> None:
    made = (await sealed_ledger(RING, (3, 3))).records
    assert verify(made[:4], keys=[KEY.public]).problems == ()
    report = verify(made[:4], keys=[KEY.public], anchors=[anchor_of(made[3]), anchor_of(made[7])])
    assert len(report.problems) == 1
    assert "the ledger held 7 records" in report.problems[0].message
    assert "rolled back" in report.problems[0].message


@pytest.mark.attack(30)
async def test_second_history_signed_by_the_same_key_contradicts_the_anchor_since_the_last_that_agrees() -> None:
    made = (await sealed_ledger(RING, (3, 3, 3))).records
    store = Store()
    store.objects = {one["metadata"]["name"]: copy.deepcopy(one) for one in made[:4]}
    writer = LedgerWriter(store, Clock())
    for number in range(50, 60):
        await writer.append(entry(number))
    await writer.seal(RING)
    assert verify(store.records, keys=[KEY.public]).problems == ()
    report = verify(store.records, keys=[KEY.public], anchors=[anchor_of(made[3]), anchor_of(made[7])])
    assert f"after audit-0000000003 ({made[3]['spec']['time']})" in report.problems[0].message
    assert report.proven is not None
    assert report.proven.sequence == 3


async def test_anchor_that_was_changed_is_no_proof_against_the_ledger() -> None:
    made = (await sealed_ledger(RING, (3,))).records
    other = seal({**read_seal(anchor_of(made[3]).text).content, "size": 9}, [new_key()])
    report = verify(made, keys=[KEY.public], anchors=[Anchor("usb/a", other), Anchor("usb/b", "{}")])
    assert "is not signed by a given key" in report.problems[0].message or "changed" in report.problems[0].message
    assert {one.where for one in report.problems} == {"usb/a", "usb/b"}
    assert report.proven is not None


async def rotated() -> tuple[Store, SigningKey]:
    store, following = await sealed_ledger(RING, (3,)), new_key()
    writer = LedgerWriter(store, Clock(NOW + timedelta(hours=1)))
    await writer.append(entry(50))
    await writer.seal(KeyRing(following, KEY))
    await writer.append(entry(51))
    await writer.seal(KeyRing(following))
    return store, following


async def test_after_a_rotation_either_key_proves_all_checkpoints() -> None:
    store, following = await rotated()
    assert [one["spec"]["type"] for one in store.records[4:]] == [
        "ApprovalRecorded", "KeyRotated", "ApprovalRecorded", "CheckpointSigned",
    ]  # fmt: skip
    for keys in ([KEY.public], [following.public], [KEY.public, following.public]):
        report = verify(store.records, keys=keys, anchors=[anchor_of(store.records[3]), anchor_of(store.records[5])])
        assert report.problems == ()
        assert report.proven is not None
        assert report.proven.sequence == 7


@pytest.mark.attack(30)
async def test_key_that_went_cannot_sign_history_again_for_who_has_the_newer_key() -> None:
    _, following = await rotated()
    forged = await sealed_ledger(RING, (3, 3))
    assert "signed nothing here" in verify(forged.records, keys=[following.public]).problems[0].message


@pytest.mark.attack(30)
async def test_key_that_went_cannot_sign_after_its_rotation() -> None:
    store, _ = await rotated()
    made = store.records[:7]
    statement = {
        "ledgerId": made[0]["spec"]["hash"][7:39], "size": 7, "head": made[6]["spec"]["hash"],
        "ts": made[6]["spec"]["time"],
    }  # fmt: skip
    payload = {"envelope": seal(statement, [KEY]), "publicKey": KEY.public.pem}
    forged = sealing_entry("CheckpointSigned", statement["ledgerId"], statement["head"], payload)
    last = AuditRecordSpec.model_validate(made[6]["spec"])
    record = chain.record_object(chain.next_record(forged, last, NOW))
    report = verify([*made, record])
    assert [one.message.rsplit(": ", 1)[-1] for one in report.problems] == ["forged"]


async def test_new_key_without_the_old_one_signs_nothing_and_says_what_to_do() -> None:
    store = await sealed_ledger(RING, (3,))
    with pytest.raises(Terminal, match=r"add the old key to its Secret as previous\.pem"):
        await LedgerWriter(store, Clock()).seal(KeyRing(new_key(), new_key()))
    assert len(store.objects) == 4


async def test_nothing_is_signed_after_the_store_was_rolled_back_under_the_writer() -> None:
    store = await sealed_ledger(RING, (3,))
    writer = LedgerWriter(store, Clock())
    last = await writer.append(entry(9))
    del store.objects[chain.record_name(last.sequence)]
    with pytest.raises(Terminal, match="is gone after it was written"):
        await writer.seal(RING)
    with pytest.raises(Terminal, match="does not verify"):
        await writer.append(entry(10))


async def test_operator_appends_nothing_when_an_anchor_contradicts_and_still_reads() -> None:
    made = (await sealed_ledger(RING, (3, 3))).records
    store = Store()
    store.objects = {one["metadata"]["name"]: one for one in made[:4]}
    writer = LedgerWriter(store, Clock(), anchors=kept(anchor_of(made[7])))
    with pytest.raises(Terminal, match="rolled back"):
        await writer.append(entry(9))
    assert len(await writer.of_subject("uid-0")) == 1


async def test_anchors_that_cannot_be_read_stop_appending_but_not_reading(tmp_path: Path) -> None:
    damaged = tmp_path / "checkpoint-0000000001.json"
    damaged.write_bytes(b"\xff\xff")
    writer = LedgerWriter(await sealed_ledger(RING, (3,)), Clock(), anchors=FolderAnchor(tmp_path).read)
    with pytest.raises(Transient, match="cannot be read"):
        await writer.append(entry(9))
    assert len(await writer.of_subject("uid-0")) == 1
    damaged.unlink()
    assert (await writer.append(entry(9))).sequence == 5


async def test_folder_that_is_not_there_is_no_folder_without_anchors(tmp_path: Path) -> None:
    writer = LedgerWriter(await sealed_ledger(RING, (3,)), Clock(), anchors=FolderAnchor(tmp_path / "gone").read)
    with pytest.raises(Transient, match="cannot be read"):
        await writer.append(entry(9))


@pytest.mark.parametrize(
    ("ages", "expected"), [((), False), ((9,), False), ((10,), True), ((1, 1), False), ((1, 1, 1), True)]
)
def test_checkpoint_is_due_after_so_many_records_or_minutes(ages: tuple[int, ...], expected: bool) -> None:
    oldest = rfc3339(NOW - timedelta(minutes=ages[0])) if ages else ""
    assert due(SinceSeal(None, len(ages), oldest), NOW, 3, timedelta(minutes=10)) is expected


async def test_signing_goes_on_by_itself_and_brings_every_checkpoint_to_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    writer, clock = LedgerWriter(store, Clock()), Clock()
    checkpoints = Checkpoints(
        writer, RING, [FolderAnchor(tmp_path)], records=2, age=timedelta(days=1), clock=lambda: clock.now
    )
    await checkpoints.look()
    assert names(tmp_path) == []
    await writer.append(entry(0))
    await checkpoints.look()
    for number in range(1, 4):
        await writer.append(entry(number))
        await checkpoints.look()
    assert [name[:21] for name in names(tmp_path)] == ["checkpoint-0000000001", "checkpoint-0000000004"]
    report = verify(store.records, keys=[KEY.public], anchors=read_folder(tmp_path))
    assert (report.problems, report.unsigned) == ((), 1)
    await Checkpoints(writer, RING, [FolderAnchor(tmp_path)], records=99, age=timedelta(days=1)).look()
    assert verify(store.records, keys=[KEY.public], anchors=read_folder(tmp_path)).unsigned == 0
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_anchor_that_holds_another_checkpoint_is_never_written_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await sealed_ledger(RING, (3,))
    held = tmp_path / Checkpoint.of(anchor_of(store.records[3]).text).name
    held.write_text("another")
    writer = LedgerWriter(store, Clock())
    checkpoints = Checkpoints(writer, RING, [FolderAnchor(tmp_path)], records=2, age=timedelta(days=1))
    for _ in range(3):
        await checkpoints.look()
    assert held.read_text() == "another"
    assert [one.message.count("holds something else than its name says") for one in caplog.records] == [1]


def test_keys_of_other_kinds_are_refused_and_no_key_is_shown(tmp_path: Path) -> None:
    rsa = generate_rsa(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content in (("rsa.pem", rsa), ("text.pem", b"no key"), ("public.pem", KEY.public.pem.encode())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="ECDSA P-256 or Ed25519") as caught:
            SigningKey.from_file(tmp_path / name)
        assert content.decode() not in str(caught.value)
    with pytest.raises(ValueError, match="ECDSA P-256 or Ed25519"):
        PublicKey.from_pem(rsa)


@pytest.mark.parametrize("kind", ["ec", "ed25519"])
def test_both_kinds_of_keys_are_read_and_sign(kind: str, tmp_path: Path) -> None:
    edwards = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(new_key_pem() if kind == "ec" else edwards)
    key = SigningKey.from_file(tmp_path / "key.pem")
    text = seal({"size": 1, "ts": "now"}, [key])
    assert text == seal({"size": 1, "ts": "now"}, [key])
    assert PublicKey.from_pem(key.public.pem.encode()).signed(read_seal(text).envelope)
    secret = (tmp_path / "key.pem").read_text().splitlines()[1]
    assert secret not in repr(KeyRing(key)) + str(vars(key))


def test_operator_signs_with_a_key_that_stock_verifiers_know_and_an_older_one_hands_over(tmp_path: Path) -> None:
    edwards = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(edwards)
    with pytest.raises(ValueError, match="must be an ECDSA P-256 key"):
        KeyRing.from_folder(tmp_path)
    (tmp_path / "key.pem").rename(tmp_path / "previous.pem")
    (tmp_path / "key.pem").write_bytes(new_key_pem())
    assert KeyRing.from_folder(tmp_path).previous is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('[{"b": {"c": 1, "c": 1}}]', "'c' is there twice"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, "too deeply"),
    ],
)
def test_json_with_two_meanings_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        strict_json(text)
