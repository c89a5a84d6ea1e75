"""The other suites of a job's namespace: which of them validation reads beside its own inputs, and why not the rest.

No suite of others is ever in the way of a job: one that can't be read is named with the reason, and validation warns of it.
So a claim is mounted only where it cannot keep the pod from starting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.datachecks import COMPARING, effective
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.stage.configs import FurtherSuite
from tunegate.api.stage.layout import FURTHER_SUITES_MOUNT
from tunegate.digests import document_digest
from tunegate.manifests.sources import ClaimMount, ClaimPath, claim_path
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL

MAX_SUITES = 32
MAX_CLAIMS = 8
"""Claims that are mounted for further suites alone: each is one more thing that a node has to reach."""
ANYWHERE = frozenset({"ReadOnlyMany", "ReadWriteMany"})
"""Access modes under which a claim can be mounted wherever the pod's other claims draw it."""


@dataclass(frozen=True)
class FurtherSuites:
    """What validation reads of the other suites, and why it does not read the rest, by name."""

    readable: tuple[tuple[EvaluationSuite, ClaimPath], ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> list[FurtherSuite]:
        """Return what the stage is told of those that it reads."""
        return [
            FurtherSuite(
                name=suite.name,
                path=questions.below(_mount(questions)),
                digest=document_digest(suite.spec.to_dict()),
                data_digest=suite.spec.data.digest,
            )
            for suite, questions in self.readable
        ]

    def mounts(self) -> list[ClaimMount]:
        """Return one mount for each of their claims."""
        return list(dict.fromkeys(ClaimMount(path.claim, _mount(path)) for _, path in self.readable))


def further_claims(seen: Observed) -> dict[str, str]:
    """Return the claims that the other suites lie on, by the suite's name."""
    found = {name: _questions(suite) for name, suite in seen.other_suites.items() if suite is not None}
    return {name: path.claim for name, path in found.items() if isinstance(path, ClaimPath)}


def further_suites(seen: Observed, policy: ApprovalPolicy, own_claims: Collection[str]) -> FurtherSuites:
    """Choose in the order of names; ``own_claims`` are in the pod anyway. None where no check compares rows with suites."""
    checks = effective(policy.spec.data_checks, seen.job.spec.dataset.checks)
    if not any(setting.name in COMPARING and setting.action != "Off" for setting in checks):
        return FurtherSuites()
    readable: list[tuple[EvaluationSuite, ClaimPath]] = []
    unread: dict[str, str] = {}
    claims: set[str] = set()
    for name, suite in sorted(seen.other_suites.items()):
        if suite is None:
            unread[name] = "this version of Tunegate does not understand it"
            continue
        questions = _questions(suite)
        if isinstance(questions, str):
            unread[name] = questions
            continue
        wanted = claims | ({questions.claim} - set(own_claims))
        why = _closed(questions.claim, seen.claims.get(questions.claim), own=questions.claim in own_claims)
        if why is not None:
            unread[name] = why
        elif len(readable) == MAX_SUITES:
            unread[name] = f"at most {MAX_SUITES} further suites are read, the first by name"
        elif len(wanted) > MAX_CLAIMS:
            unread[name] = f"at most {MAX_CLAIMS} claims are mounted for further suites, those of the first by name"
        else:
            readable.append((suite, questions))
            claims = wanted
    return FurtherSuites(tuple(readable), unread)


def _closed(name: str, claim: Json | None, *, own: bool) -> str | None:
    """Return why a claim is not mounted for a further suite. ``own``: the job's inputs need it, so that the pod has it."""
    what = f"PersistentVolumeClaim {name}"
    if claim is None:
        return f"{what} does not exist"
    metadata, status = claim["metadata"], claim.get("status") or {}
    if (metadata.get("labels") or {}).get(USABLE_BY_JOBS_LABEL) != "true":
        return f"{what} is not opened for jobs by the label {USABLE_BY_JOBS_LABEL}=true"
    if own:
        return None
    if metadata.get("deletionTimestamp"):
        return f"{what} is being deleted"
    if status.get("phase") != "Bound":
        return f"{what} is not bound to a volume"
    if (claim.get("spec") or {}).get("volumeMode") == "Block":
        return f"{what} has no file system"
    if not ANYWHERE & set(status.get("accessModes") or ()):
        return f"{what} is for one node only: it needs the access mode {' or '.join(sorted(ANYWHERE))}"
    return None


def _questions(suite: EvaluationSuite) -> ClaimPath | str:
    """Return where a suite's questions lie, or what is wrong with the address."""
    try:
        return claim_path(suite.spec.data.uri)
    except ValueError as error:
        return str(error)


def _mount(path: ClaimPath) -> str:
    return f"{FURTHER_SUITES_MOUNT}/{path.claim}"
