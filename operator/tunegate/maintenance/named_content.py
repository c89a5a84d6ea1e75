"""What ledger and live objects name of the registry's content. Nothing of that is ever freed.

Every digest counts wherever it stands: a field that a later version adds names as well as one of today. What cannot be read
ends the collection, since it could have named anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecord, EventType
from tunegate.api.basemodel import BaseModel
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.kinds import KINDS
from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.usage import Usage
from tunegate.errors import Terminal, wrong_fields
from tunegate.exchange.rights import PUSHED
from tunegate.kube.client import KubeClient
from tunegate.ledger.sequence import in_order
from tunegate.ledger.verify import Verification
from tunegate.reconcile.naming import base_model_repository, job_repository, statement_repository

DELETED: EventType = "RegistryContentDeleted"
"""Records of this type name what is gone."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass
class Named:
    """Digests and repositories that somebody names."""

    followed: set[str] = field(default_factory=set)
    """By live objects, and by records about releases: what such a document names in turn is named too."""
    recorded: set[str] = field(default_factory=set)
    """By all other records: that document only."""
    prefixes: set[str] = field(default_factory=set)
    """Repositories of jobs that have not ended, of releases and of base models: all of their content."""
    jobs: set[str] = field(default_factory=set)
    """Prefixes of the repositories of all live jobs."""
    records: int = 0

    def protects(self, repository: str) -> bool:
        """Tell whether all content of a repository is kept: pushed data too, which their owners withdraw."""
        parts = repository.split("/")
        return self.is_in_use(repository) or (len(parts) > 1 and parts[1] in PUSHED)

    def is_in_use(self, repository: str) -> bool:
        """Tell whether a repository is that of something on its way: all of its content is named."""
        return any(f"{repository}/".startswith(f"{prefix}/") for prefix in self.prefixes)

    def has_job(self, repository: str) -> bool:
        """Tell whether the job that a repository belongs to is there."""
        return any(f"{repository}/".startswith(f"{prefix}/") for prefix in self.jobs)


def digests_in(text: str) -> set[str]:
    """Return every SHA-256 digest that stands in a text."""
    return set(_DIGEST.findall(text))


async def collect(kube: KubeClient, namespaces: Iterable[str]) -> Named:
    """Return what the whole ledger and all objects in the cluster name, those of the governed ``namespaces`` included.

    Raises ``Transient`` or ``Terminal`` where any of it cannot be listed or parsed, or the ledger does not verify.
    """
    named = Named()
    await _records(kube, named)
    for kind in KINDS:
        if kind in (AuditRecord, Usage):
            continue
        for namespace in namespaces if kind.KIND.scope == "Namespaced" else ("",):
            async for page in kube.pages(API_VERSION, kind.KIND.kind, namespace):
                for obj in page:
                    note_object(named, kind, obj)
    return named


async def _records(kube: KubeClient, named: Named) -> None:
    verification = Verification(note=lambda spec: note_record(named, spec))
    async for obj in in_order(kube.pages(API_VERSION, AuditRecord.KIND.kind)):
        verification.look(obj)
    report = verification.report((), ())
    if report.problems:
        raise Terminal(
            "LedgerBroken",
            f"the ledger does not verify, so nobody can tell what it named: {report.problems[0]} "
            f"({len(report.problems)} problems). Run `tunegate audit verify`",
        )
    named.records = report.records


def note_record(named: Named, spec: Mapping[str, Any]) -> None:
    """Add what a record of the ledger names."""
    if spec["type"] == DELETED:
        return
    found = digests_in(json.dumps(spec["payload"]))
    of_release = spec["subject"]["kind"] == ModelRelease.KIND.kind
    (named.followed if of_release else named.recorded).update(found)


def note_object(named: Named, kind: type[Resource], obj: Mapping[str, Any]) -> None:
    """Add what an object names. Raises ``Terminal`` for one that this version cannot read."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    try:
        read = kind.model_validate(obj)
    except ValidationError as error:
        where = "/".join(filter(None, (namespace, metadata["name"])))
        message = f"{kind.KIND.kind} {where} cannot be read, so nobody can tell what it names: {wrong_fields(error)}"
        raise Terminal("Unreadable", message) from error
    named.followed |= digests_in(json.dumps(obj))
    if isinstance(read, FineTuneJob):
        own = job_repository(namespace, metadata["name"], metadata["uid"])
        named.jobs.add(own)
        if not read.status.ended:
            named.prefixes.add(own)
            named.prefixes |= {stage.repository for stage in read.status.stages if stage.repository}
    elif isinstance(read, ModelRelease):
        named.prefixes.add(statement_repository(namespace, metadata["name"], metadata["uid"]))
    elif isinstance(read, BaseModel):
        named.prefixes.add(base_model_repository(metadata["name"]))
