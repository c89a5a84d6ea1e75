"""A ledger with a record of every type, as the operator writes them: a restored backup and a change of keys included."""

from __future__ import annotations

from datetime import timedelta

from tests.support.ledgers import NOW, Clock, Json, Store, anchor_of, kept
from tunegate.api.auditrecord import EventType
from tunegate.keys import SigningKey
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter

JOB = AuditSubject("FineTuneJob", "team", "job", "0f0e0d0c-1111-2222-3333-444455556666")
RELEASE = AuditSubject("ModelRelease", "team", "release", "aaaa0000-1111-2222-3333-444455556666")
SERVER = AuditSubject("ModelServer", "team", "server", "bbbb0000-1111-2222-3333-444455556666")
CLUSTER = AuditSubject("Namespace", "", "kube-system", "cccc0000-1111-2222-3333-444455556666")


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


COUNTED = {"approvals": "a-1,a-2", "approvers": "ravi (risk), cora (compliance)"}
STATED: list[tuple[EventType, str, AuditSubject, dict[str, str]]] = [
    ("JobRequested", "erin", JOB, {"spec": digest("1"), "dataset": digest("2"), "personId": "E-1"}),
    ("BudgetReserved", "tunegate-operator", JOB, {"deviceHours": "1.50", "cost": "4.50", "period": "Month"}),
    ("WaiverRejected", "rita", JOB, {"approval": "w-1", "reason": "37 examples are too few"}),
    ("WaiverGranted", "tunegate-operator", JOB, {"waiverDigest": digest("3"), **COUNTED}),
    ("AdapterSealed", "tunegate-operator", JOB, {"adapter": digest("4"), "adapterManifest": digest("5")}),
    ("SuiteAsked", "tunegate-operator", JOB, {"stage": "Evaluate", "suiteData": digest("a"), "requestedBy": "erin"}),
    ("JobFinished", "tunegate-operator", JOB, {"phase": "Succeeded", "reason": "GatePassed", "cost": "3.10"}),
    ("ReleaseRequested", "erin", RELEASE, {"releaseDigest": digest("6"), "statement": digest("7"), "note": "Zoë, 1 Å"}),
    ("EvidenceSealed", "tunegate-operator", RELEASE, {"releaseDigest": digest("6"), "provenance": digest("8")}),
    ("ApprovalRecorded", "ravi", RELEASE, {"approval": "a-1", "role": "risk", "content": digest("9")}),
    ("ReleaseApproved", "tunegate-operator", RELEASE, {"releaseDigest": digest("6"), **COUNTED}),
    ("ReleaseDenied", "cora", RELEASE, {"approval": "a-3", "reason": "the wrong report"}),
    ("ReleaseRevoked", "cora", RELEASE, {"approval": "a-4", "reason": "wrong answers in production"}),
    ("BreakGlassGranted", "tunegate-operator", RELEASE, {"expirationTime": "2026-11-24T13:00:00Z", "missing": "1 of role risk"}),
    ("BreakGlassEnded", "tunegate-operator", RELEASE, {"outcome": "Reviewed"}),
    ("RolloutStarted", "tunegate-operator", SERVER, {"server": "server", "rollout": digest("d"), "adapters": "3"}),
    ("AdapterListed", "tunegate-operator", RELEASE, {"servedName": "release-44444444", "adapter": digest("4")}),
    ("RouteOpened", "tunegate-operator", SERVER, {"route": "holders", "servedName": "release-44444444"}),
    ("RouteClosed", "tunegate-operator", SERVER, {"route": "holders", "servedName": "release-44444444"}),
    ("RouteWeightChanged", "tunegate-operator", SERVER, {"route": "holders", "servedName": "release-44444444", "weight": "5"}),
    ("RouteWentBack", "tunegate-operator", SERVER, {"route": "holders", "servedName": "release-44444444", "reason": "errors: 9 of 100"}),
    ("ShadowOpened", "tunegate-operator", SERVER, {"route": "holders", "servedName": "release-44444444", "weight": "10"}),
    ("ShadowClosed", "tunegate-operator", SERVER, {"route": "holders", "servedName": "release-44444444"}),
    ("AdapterLeftOut", "tunegate-operator", SERVER, {"servedName": "release-44444444", "reason": "rank 64, 32 allowed"}),
    ("AdmissionVerified", "tunegate-operator", CLUSTER, {"until": "2026-11-24T12:00:00Z"}),
    ("AdmissionDrift", "tunegate-operator", CLUSTER, {"since": "2026-11-24T12:00:00Z", "rules": "tunegate-approvals"}),
    ("PowersChanged", "tunegate-operator", CLUSTER, {"since": "2026-11-24T12:00:00Z", "added": "impersonate: user mallory"}),
    ("TrackingDrift", "tunegate-operator", RELEASE, {"changed": "gov.approvals, gov.approvers"}),
    ("ForeignObjectFound", "tunegate-operator", SERVER, {"object": "Service team/server", "differs": "spec", "outcome": "Refused"}),
    ("RevocationConfirmed", "tunegate-operator", RELEASE, {"servedName": "release-44444444", "pods": "server-engine-1"}),
    ("RegistryContentDeleted", "ada", CLUSTER, {"list": digest("b"), "deleted-1": f"team/job/answers@{digest('c')}"}),
    ("ServingPodDeleted", "tunegate-operator", RELEASE, {"servedName": "release-44444444", "pod": "server-engine-1"}),
    ("HistoryRemoved", "tunegate-operator", JOB, {"phase": "Failed", "copy": digest("b"), "repository": "team/job-0f0e0d0c/results"}),
]  # fmt: skip
"""Every type of event but the three that state something of the ledger itself."""


async def ledger_of_every_type(key: SigningKey, following: SigningKey) -> tuple[list[Json], list[Anchor]]:
    """Return the records, and anchors over all but the last, one of them lost when the backup was restored.

    ``key`` signs the first checkpoint and the new epoch, hands over to ``following``, and that one signs the end.
    """
    store, clock = Store(), Clock()
    writer = LedgerWriter(store, clock)
    for number, (type_, actor, subject, payload) in enumerate(STATED):
        await writer.append(AuditEntry(type_, actor, subject, str(number), payload))
    await writer.seal(KeyRing(key))
    backup = dict(store.objects)
    await writer.append(AuditEntry("JobRequested", "erin", JOB, "lost"))
    await writer.seal(KeyRing(key))
    lost = anchor_of(store.records[-1])

    restored, later = Store(), Clock(NOW + timedelta(days=1))
    restored.objects = backup
    writer = LedgerWriter(restored, later, anchors=kept(lost), keys=[key.public])
    await writer.begin_epoch(KeyRing(key), "the disk of etcd was lost", "ada")
    for ring in (KeyRing(following, key), KeyRing(following)):
        await writer.append(AuditEntry("JobRequested", "erin", JOB, ring.key.public.id + str(ring.previous)))
        await writer.seal(ring)
    return restored.records, [lost, anchor_of(restored.records[-1])]
