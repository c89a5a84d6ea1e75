"""Signs the evidence of a release and attaches signatures and documents to its adapter in the registry.

Only documents that were read from the registry and fit together are signed, never what a status says. Signing and attaching
again gives the same bytes, so a stop at any point costs nothing; the record in the ledger ends it.
"""

from __future__ import annotations

from tunegate import __version__
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import ReleaseReason
from tunegate.deadlines import SIGNING_SECONDS, Threads
from tunegate.evidence import envelopes, layout, sources
from tunegate.evidence.attached import attached
from tunegate.evidence.attestations import attestations
from tunegate.evidence.documents import read_documents
from tunegate.evidence.referrer import Referrer
from tunegate.evidence.story import Subject
from tunegate.keys import SigningKey
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.modelrelease.sealing import Signatures
from tunegate.registry import failures, referrers
from tunegate.registry.client import RegistryClient
from tunegate.release.evidence import Shortfall


class EvidenceSigner:
    """One operator's signing of evidence."""

    def __init__(self, registry: RegistryClient, key: SigningKey, threads: Threads) -> None:
        self._registry = registry
        self._key = key
        self._threads = threads
        self._attaching = Threads("the registry", 1, failures.Unavailable)
        """One thread for all: a list of referrers takes one writer at a time, and a call that was given up still writes."""

    async def sign(self, frozen: Frozen, job: FineTuneJob | None) -> Signatures | Shortfall:
        """Sign and attach; return the OCI digests by name, of signatures and documents.

        ``job`` is the release's, unless it was deleted: it says where results lie that it took over from other jobs.
        """
        try:
            found = await self._threads.call(SIGNING_SECONDS, self._make, frozen, job)
            if isinstance(found, Shortfall):
                return found
            await self._attaching.call(SIGNING_SECONDS, self._attach, frozen, found)
        except failures.RegistryError as error:
            return Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, f"the evidence cannot be signed yet: {error}")
        return {**{one.name: one.digest for one in found}, "key": self._key.public.id}

    def _make(self, frozen: Frozen, job: FineTuneJob | None) -> tuple[Referrer, ...] | Shortfall:
        statement = frozen.statement
        jobs = [job] if job is not None else []
        files = {layout.STATEMENT: statement.content, **sources.pull(self._registry, statement, jobs)}
        documents, wrong = read_documents(files, statement)
        if documents is None:
            message = f"the evidence does not fit together and is not signed: {'; '.join(str(one) for one in wrong)}"
            return Shortfall(ReleaseReason.EVIDENCE_DIFFERS, message[:1000], final=True)
        made = attestations(statement, frozen.digest, documents, __version__)
        signed = envelopes.sign(made, files[layout.ADAPTER], self._key)
        return (*signed, *attached(Subject(statement, frozen.digest, documents), files))

    def _attach(self, frozen: Frozen, made: tuple[Referrer, ...]) -> None:
        for one in made:
            referrers.attach(self._registry, frozen.statement.adapter.repository, one.artifact, one.content)
