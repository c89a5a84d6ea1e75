"""A released adapter whose documents really hash to what the statement names: in memory, or pushed to a registry."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from tests.support import release_evidence
from tests.support.ledgers import Clock, Store, new_key
from tests.support.release_walk import NOW, Walk
from tests.support.stage_documents import baselined, evaluated, trained, validated
from tests.support.statements import data_statement
from tunegate import __version__
from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.stage.configs import DataOrigin
from tunegate.api.stage.layout import ADAPTER_MEDIA_TYPE, DATA_STATEMENT_MEDIA_TYPE, RESULT_MEDIA_TYPE
from tunegate.api.stage.results import SealResult
from tunegate.digests import canonical, manifest_digest, sha256
from tunegate.evidence import decisions, folder, layout
from tunegate.evidence.attached import attached
from tunegate.evidence.attestations import attestations
from tunegate.evidence.documents import read_documents
from tunegate.evidence.envelopes import sign
from tunegate.evidence.referrer import Referrer
from tunegate.evidence.story import Subject
from tunegate.keys import SigningKey
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import recorded
from tunegate.reconcile.modelrelease.ledger_entries import Frozen, last
from tunegate.reconcile.modelrelease.planner import Observed
from tunegate.registry import artifact
from tunegate.registry.artifact import Artifact, Layer
from tunegate.registry.client import RegistryClient
from tunegate.release.statement import ReleaseStatement

Json = dict[str, Any]
JOB_UID = "0f0e0d0c-1111-2222-3333-444455556666"
RELEASE_UID = "aaaa0000-1111-2222-3333-444455556666"
KEY = new_key()
TRAINER = {"container": "stage", "image": "registry.example/tunegate/trainer:1", "digest": release_evidence.digest("1")}
ENGINE = {
    "container": "engine", "image": f"registry.example/engine@{release_evidence.digest('2')}", "digest": release_evidence.digest("2"),
}  # fmt: skip
WAIVER = release_evidence.digest("7")
ADAPTER_FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


@dataclass(frozen=True)
class Documents:
    """What the stages of one job left in the registry, and the job's status that names it."""

    contents: dict[str, bytes]
    """By the name of the manifest: `data-statement`, `validate`, …"""
    status: Json

    def push(self, client: RegistryClient, repository: str, earlier: str) -> None:
        """Store all of it below a job's repository, but the baseline: it was taken over from an ``earlier`` job."""
        next(one for one in self.status["stages"] if one["name"] == "Baseline")["repository"] = earlier
        for name, content in self.contents.items():
            where = earlier if name == "Baseline" else repository
            digest = client.push_document(f"{where}/results", content, _media_type(name))
            assert digest == sha256(result_manifest(name, content))
        layers = [
            client.push_blob(f"{repository}/adapter", content, "application/octet-stream", title=name)
            for name, content in ADAPTER_FILES.items()
        ]
        assert client.push_artifact(f"{repository}/adapter", ADAPTER_MEDIA_TYPE, layers) == sha256(ADAPTER)


ADAPTER = artifact.write(
    Artifact(
        ADAPTER_MEDIA_TYPE,
        tuple(
            Layer("application/octet-stream", sha256(content), len(content), name)
            for name, content in ADAPTER_FILES.items()
        ),
    )
)
ADAPTER_MANIFEST = Manifest(
    files=[
        FileEntry(path=name, size=len(content), sha256=sha256(content).removeprefix("sha256:"))
        for name, content in ADAPTER_FILES.items()
    ]
)


def documents(world: dict[str, Json], job: Json, repository: str) -> Documents:
    """Return what a job would leave that passed its gate; ``world`` is its catalogue, ``job`` the object."""
    adapter = manifest_digest(ADAPTER_MANIFEST)
    profile, suite = release_evidence.digests_of(world)
    spec = FineTuneJob.model_validate(job).spec.dataset
    origin = DataOrigin(
        uri=spec.uri, source=spec.source, license=spec.license, classification=spec.classification, steward=spec.steward
    )
    stated = data_statement(
        namespace=job["metadata"]["namespace"], job=job["metadata"]["name"], job_uid=job["metadata"]["uid"],
        origin=origin, digest=release_evidence.digest("d"), base_model_digest=release_evidence.digest("b"), suite_digest=suite,
    )  # fmt: skip
    data = canonical(stated.to_dict())
    statement = sha256(result_manifest("data-statement", data))
    sealed = SealResult(
        outcome="Passed", repository=f"{repository}/adapter", digest=sha256(ADAPTER), manifest=ADAPTER_MANIFEST,
        manifest_digest=adapter, bytes=9, rank=16, target_modules=["q_proj"],
    )  # fmt: skip
    made = {
        "Validate": validated(dataset_digest=release_evidence.digest("d"), statement_digest=statement),
        "Baseline": baselined(),
        "Train": trained().model_copy(
            update={"hyperparameters": {"rank": "16", "seed": "17"}, "libraries": {"peft": "0.21.2"}, "hardware": {"devices": "NVIDIA L4", "driver": "550.90.07"}}
        ),
        "Seal": sealed,
        "Evaluate": evaluated(
            adapter_manifest_digest=adapter, base_model_digest=release_evidence.digest("b"), profile_digest=profile,
            suite_digest=suite,
        ),
    }  # fmt: skip
    contents = {"data-statement": data, **{name: canonical(result.to_dict()) for name, result in made.items()}}
    status = release_evidence.job_status(world, "")
    status["stages"] = [
        {
            "name": name, "state": "Done", "attempt": 1, "resultDigest": sha256(result_manifest(name, contents[name])),
            "images": [TRAINER, ENGINE] if name in ("Baseline", "Evaluate") else [TRAINER],
        }
        for name in made
    ]  # fmt: skip
    status["dataset"]["statementDigest"] = statement
    status["adapter"] |= {"repository": f"{repository}/adapter", "digest": sha256(ADAPTER), "manifestDigest": adapter}
    status["gate"]["adapterDigest"] = adapter
    return Documents(contents, status)


class Released(Walk):
    """A release that two people approved, whose job was waived by one, in a ledger that holds others' records as well.

    Its evidence is signed by ``key``; None: by an operator without a key.
    """

    def __init__(self, key: SigningKey | None = KEY) -> None:
        super().__init__()
        self.key = key
        self.humans: dict[str, str] = {}
        """Person-ids by user name; who has one also has a time of sign-in."""
        self.job["metadata"]["uid"] = JOB_UID
        self.release = release_evidence.with_metadata(release_evidence.release_of(self.job), uid=RELEASE_UID)
        self.documents = documents(self.world, self.job, "team/job-0f0e0d0c")
        self.job["status"] = self.documents.status
        self.result = json.loads(self.documents.contents["Evaluate"])
        self.start_again()

    def start_again(self, phase: str = "Approved") -> None:
        """Begin a new ledger and let all decide anew, after job or release were changed."""
        self.ask_again()
        self.agree()
        assert self.settle() == phase

    def ask_again(self) -> None:
        """Begin a new ledger, in which the release is asked for and nobody has decided on it."""
        self.records, self.approvals, self.stored = [], [], None
        for one in (self.job, self.release):
            one["spec"]["requestedBy"] |= self._human(one["spec"]["requestedBy"]["username"])
        self._append(AuditEntry("JobRequested", "zoe", AuditSubject("FineTuneJob", "other", "job", "elsewhere"), "1"))
        self._waive()
        self.settle()

    def agree(self) -> None:
        """Let the two reviewers approve."""
        for number, who in enumerate(("ravi", "cora")):
            self.decide(who)
            self.approvals[-1]["spec"]["approver"] |= self._human(who)
            self.approvals[-1] = self.signed(self.approvals[-1])
            self.approvals[-1]["metadata"]["uid"] = f"bbbb000{number}-1111-2222-3333-444455556666"

    def override(self) -> None:
        """Let dora break the glass."""
        approver = {"username": "dora", "groups": ["duty"]}
        words = {"decision": "Override", "role": "break-glass", "reason": "production leaks names"}
        self.decide("dora", "dora-overrides", approver=approver, **words)

    def signed(self, approval: Json) -> Json:
        """Return a decision as its author hands it in; these people have no keys."""
        return approval

    def observe(self) -> Observed:
        """The controller asks the ledger for the records of the release only, and signs what was requested."""
        seen = super().observe()
        own = tuple(one for one in seen.records if one.subject.uid == RELEASE_UID)
        beside = (*self.signatures(), *self.attached())
        made = {one.name: one.digest for one in beside} if last(own, "ReleaseRequested") else {}
        return replace(seen, records=own, signatures={**made, "key": self.key.public.id} if made and self.key else None)

    def signatures(self) -> tuple[Referrer, ...]:
        """Return what the operator signs."""
        if self.key is None or self.stored is None:
            return ()
        about = self._subject(self.stored)
        return sign(attestations(about.statement, about.digest, about.documents, __version__), ADAPTER, self.key)

    def attached(self) -> tuple[Referrer, ...]:
        """Return the documents that lie beside the signatures."""
        if self.key is None or self.stored is None:
            return ()
        return attached(self._subject(self.stored), self._from_registry(self.stored.statement))

    def _subject(self, frozen: Frozen) -> Subject:
        documents, wrong = read_documents(self._from_registry(frozen.statement), frozen.statement)
        assert documents is not None, wrong
        return Subject(frozen.statement, frozen.digest, documents)

    def checkpoint(self, keys: KeyRing) -> None:
        """Let the operator sign the ledger as it stands, with keys that may differ from the one that signs evidence."""
        store = Store()
        store.objects = {one["metadata"]["name"]: one for one in map(chain.record_object, self.records)}
        asyncio.run(LedgerWriter(store, Clock(self.now)).seal(keys))
        self.records = [AuditRecordSpec.model_validate(one["spec"]) for one in store.records]

    def sources(self) -> dict[str, bytes]:
        """Return the files that an export would read from cluster and registry."""
        assert self.stored is not None
        found = self._from_registry(self.stored.statement)
        places = layout.signatures({})
        for signed in self.signatures():
            where = places[signed.name]
            found |= {where.path: signed.content, where.manifest_path: artifact.write(signed.artifact)}
        found[layout.APPROVALS] = decisions.approval_lines([Approval.model_validate(one) for one in self.approvals])
        found[layout.LEDGER] = decisions.ledger_lines([chain.record_object(one) for one in self.records])
        return found

    def _from_registry(self, statement: ReleaseStatement) -> dict[str, bytes]:
        contents = self.documents.contents
        found = {layout.STATEMENT: statement.content, layout.ADAPTER: ADAPTER}
        for one in layout.documents(statement):
            name = one.stage or "data-statement"
            found |= {one.path: contents[name], one.manifest_path: result_manifest(name, contents[name])}
        return found

    def files(self) -> dict[str, bytes]:
        """Return the whole folder."""
        files, differences = folder.complete(self.sources())
        assert differences == ()
        return files

    def noted(self) -> folder.Noted:
        """Return what an auditor wrote down: release digest and ledger head."""
        assert self.stored is not None
        return folder.Noted(digest=self.stored.digest, head=chain.head(self.records))

    def _human(self, who: str) -> Json:
        return {"personId": self.humans[who], "authTime": "2026-11-24T11:30:00Z"} if who in self.humans else {}

    def _append(self, entry: AuditEntry) -> None:
        self.records.append(chain.next_record(entry, self.records[-1] if self.records else None, self.now))

    def _waive(self) -> None:
        job = FineTuneJob.model_validate(self.job)
        made = release_evidence.with_metadata(release_evidence.decision(self.job, "rita", "rita-waives"), uid="cccc")
        made["spec"] |= {
            "subjectRef": {"kind": "FineTuneJob", "name": job.name, "uid": job.uid}, "subjectDigest": WAIVER,
            "role": "steward", "approver": {"username": "rita", "groups": ["stewards"], **self._human("rita")},
        }  # fmt: skip
        made = self.signed(made)
        self.approvals.append(made)
        subject = AuditSubject("FineTuneJob", job.namespace, job.name, job.uid)
        for entry in recorded(subject, [Approval.model_validate(made)]):
            self._append(entry)
        granted = {"waiverDigest": WAIVER, "approvals": "cccc", "approvers": "rita (steward)"}
        self._append(AuditEntry("WaiverGranted", "tunegate-operator", subject, "1", granted))
        rule = {"name": "steward", "minApprovals": 1, "groups": ["stewards"], "findings": ["MinimumExamples"]}
        identity = self.world["ApprovalPolicy"]["spec"].get("identity")
        self.job["status"]["waiver"] = {
            **({"identity": identity} if identity else {}), "digest": WAIVER, "rules": [rule], "grantedTime": (NOW - timedelta(hours=1)).isoformat(),
            "findings": [{"check": "MinimumExamples", "count": 37, "message": "37 examples, 200 are needed"}],
            "counted": [{"name": "rita-waives", "username": "rita", "role": "steward", "time": "2026-11-24T12:00:00Z"}],
        }  # fmt: skip


def identified_release() -> Released:
    """Return a release under a policy that asks for person-ids and fresh sign-ins, of its waiver as well."""
    found = Released()
    found.world["ApprovalPolicy"]["spec"]["identity"] = {"requirePersonId": True, "maxAuthAgeSeconds": 3600}
    found.humans = {"erin": "E-1", "rita": "E-2", "ravi": "E-3", "cora": "E-4"}
    found.start_again()
    return found


def _media_type(name: str) -> str:
    return DATA_STATEMENT_MEDIA_TYPE if name == "data-statement" else RESULT_MEDIA_TYPE


def result_manifest(name: str, content: bytes) -> bytes:
    layer = Layer(_media_type(name), sha256(content), len(content))
    return artifact.write(Artifact(_media_type(name), (layer,)))
