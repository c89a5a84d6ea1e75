"""The ledger on the real API server: replicas that write at once never fork it, and a signature stands in its place."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.support.ledgers import new_key
from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec
from tunegate.api.markers import API_VERSION
from tunegate.kube.client import KubeClient
from tunegate.ledger.chain import record_object
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import ledger_id, seal, sealing_entry, statement
from tunegate.ledger.writer import LedgerWriter

pytestmark = pytest.mark.cluster
EACH = 8


def entry(uid: str, number: int) -> AuditEntry:
    return AuditEntry("JobRequested", "two-writers", AuditSubject("FineTuneJob", "nowhere", "job", uid), str(number))


async def test_two_replicas_that_write_at_once_make_one_chain(operator_kube: KubeClient) -> None:
    uid = uuid4().hex
    writers = [LedgerWriter(operator_kube) for _ in range(2)]
    await asyncio.gather(*(writer.of_subject(uid) for writer in writers))

    both = [writer.append(entry(uid, number)) for number in range(EACH) for writer in writers]
    own = [writer.append(entry(uid, EACH + at)) for at, writer in enumerate(writers)]
    made = await asyncio.gather(*both, *own)

    fresh = LedgerWriter(operator_kube)
    kept = await fresh.of_subject(uid)
    assert await fresh.problems() == []
    assert await writers[0].reread() == [], "what both wrote is what the first one knows"
    assert len(kept) == EACH + 2
    assert {record.hash for record in made} == {record.hash for record in kept}
    assert [record.sequence for record in kept] == sorted({record.sequence for record in kept})


async def test_the_server_takes_a_signed_record(operator_kube: KubeClient) -> None:
    """Only checked, never stored: the ledger of this cluster is signed by its operator."""
    key, head = new_key(), f"sha256:{7:064x}"
    text = seal(statement(ledger_id(head), 7, head, "2026-11-24T12:00:00Z"), [key])
    payload = {"envelope": text, "publicKey": key.public.pem}
    entry = sealing_entry("CheckpointSigned", ledger_id(head), head, payload)
    record = AuditRecordSpec.model_validate({
        "sequence": 9_999_999_999, "eventId": entry.event_id, "time": "2026-11-24T12:00:00Z", "type": entry.type,
        "actor": entry.actor, "subject": vars(entry.subject), "payload": payload, "previousHash": head, "hash": head,
    })  # fmt: skip
    made = await operator_kube.create(record_object(record), dry_run=True)
    assert (made["apiVersion"], made["kind"]) == (API_VERSION, AuditRecord.KIND.kind)
    assert made["spec"] == record.to_dict()
