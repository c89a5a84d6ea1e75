"""The other suites of a job's namespace: which of them validation reads beside its own inputs, and why not the rest.

No suite of others is ever in the way of a job, and none that nobody can be judged by is in its statement: a suite that is not
ready, or whose claim does not exist, and that was never asked is passed over here, and one whose questions prove not to be the frozen ones is named in the result
alone. Its own status says so. Any other that can't be read is named with the reason, and validation warns of it. A claim is
mounted only where it cannot keep the pod from starting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.datachecks import COMPARING, effective
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.pushed import Pushed
from tunegate.api.stage.configs import FurtherSuite
from tunegate.api.stage.layout import FURTHER_SUITES_MOUNT, QUESTIONS_MOUNT
from tunegate.digests import document_digest
from tunegate.manifests.sources import ClaimMount, ClaimPath, RegistryPath
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.suite_questions import asked_before, closed, matters, questions_place

MAX_SUITES = 32
MAX_CLAIMS = 8
"""Claims that are mounted for further suites alone: each is one more thing that a node has to reach."""


@dataclass(frozen=True)
class FurtherSuites:
    """What validation reads of the other suites, and why it does not read the rest, by name."""

    readable: tuple[tuple[EvaluationSuite, ClaimPath | RegistryPath], ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> list[FurtherSuite]:
        """Return what the stage is told of those that it reads."""
        return [
            FurtherSuite(
                name=suite.name,
                path=_path(suite, questions),
                digest=document_digest(suite.spec.to_dict()),
                data_digest=suite.spec.data.digest,
                asked=asked_before(suite),
            )
            for suite, questions in self.readable
        ]

    def mounts(self) -> list[ClaimMount]:
        """Return one mount for each of their claims."""
        claims = [path for _, path in self.readable if isinstance(path, ClaimPath)]
        return list(dict.fromkeys(ClaimMount(path.claim, _mount(path)) for path in claims))


def further_claims(seen: Observed) -> dict[str, str]:
    """Return the claims that the other suites lie on, by the suite's name."""
    found = {name: questions_place(suite) for name, suite in seen.other_suites.items() if suite is not None}
    return {name: path.claim for name, path in found.items() if isinstance(path, ClaimPath)}


def comparable(
    job: FineTuneJob, policy: ApprovalPolicy, others: Mapping[str, EvaluationSuite | None]
) -> list[EvaluationSuite]:
    """Return the further suites whose questions rows may be compared with, by name; none where no check compares any."""
    if not _compares(job, policy):
        return []
    return [suite for _, suite in sorted(others.items()) if suite is not None and matters(suite)]


def _compares(job: FineTuneJob, policy: ApprovalPolicy) -> bool:
    checks = effective(policy.spec.data_checks, job.spec.dataset.checks)
    return any(setting.name in COMPARING and setting.action != "Off" for setting in checks)


def withdrawn_or_absent(uri: str, pushed: Mapping[str, Pushed | None]) -> bool:
    """Whether it is known that nobody can use what was pushed at an address."""
    found = pushed.get(uri)
    return uri in pushed and (found is None or found.withdrawn_by is not None)


def further_suites(seen: Observed, policy: ApprovalPolicy, own_claims: Collection[str]) -> FurtherSuites:
    """Choose in the order of names; ``own_claims`` are in the pod anyway. None where no check compares rows with suites."""
    if not _compares(seen.job, policy):
        return FurtherSuites()
    readable: list[tuple[EvaluationSuite, ClaimPath | RegistryPath]] = []
    unread: dict[str, str] = {}
    claims: set[str] = set()
    unanswered = 0
    for name, suite in sorted(seen.other_suites.items()):
        if suite is None:
            unread[name] = "this version of Tunegate does not understand it"
            continue
        if not matters(suite):
            continue
        questions = questions_place(suite)
        why = questions if isinstance(questions, str) else _closed(seen, questions, own_claims)
        if _gone(seen, questions) and not asked_before(suite):
            continue
        wanted = claims | ({questions.claim} - set(own_claims)) if isinstance(questions, ClaimPath) else claims
        if isinstance(questions, str) or _settled(seen, questions, why):
            unread[name] = why or ""
        elif len(readable) + unanswered == MAX_SUITES:
            unread[name] = f"at most {MAX_SUITES} further suites are read, the first by name"
        elif why is not None:
            unread[name] = why
            unanswered += 1
        elif len(wanted) > MAX_CLAIMS:
            unread[name] = f"at most {MAX_CLAIMS} claims are mounted for further suites, those of the first by name"
        else:
            readable.append((suite, _located(seen, questions)))
            claims = wanted
    return FurtherSuites(tuple(readable), unread)


def _gone(seen: Observed, questions: ClaimPath | RegistryPath | str) -> bool:
    """Whether nobody can be judged by the suite: its address is wrong, or nothing lies there."""
    if isinstance(questions, str):
        return True
    if isinstance(questions, ClaimPath):
        return questions.claim not in seen.claims
    return withdrawn_or_absent(questions.place.uri, seen.pushed)


def _settled(seen: Observed, questions: ClaimPath | RegistryPath, why: str | None) -> bool:
    """Whether ``why`` is an answer. The registry is not asked about more suites than are read: of the rest nothing is known."""
    return why is not None and (isinstance(questions, ClaimPath) or questions.place.uri in seen.pushed)


def _closed(seen: Observed, questions: ClaimPath | RegistryPath, own_claims: Collection[str]) -> str | None:
    """Return why a suite's questions are not read."""
    if isinstance(questions, ClaimPath):
        return closed(questions.claim, seen.claims.get(questions.claim), own=questions.claim in own_claims)
    uri = questions.place.uri
    if uri not in seen.pushed:
        return f"what was pushed at {uri} can't be read now"
    pushed = seen.pushed[uri]
    if pushed is None:
        return f"nothing was pushed at {uri}"
    return f"{pushed.withdrawn_by} withdrew {uri}" if pushed.withdrawn_by is not None else None


def _located(seen: Observed, questions: ClaimPath | RegistryPath) -> ClaimPath | RegistryPath:
    if isinstance(questions, ClaimPath):
        return questions
    pushed = seen.pushed[questions.place.uri]
    return replace(questions, file=pushed.file) if pushed else questions


def _path(suite: EvaluationSuite, questions: ClaimPath | RegistryPath) -> str:
    mount = _mount(questions) if isinstance(questions, ClaimPath) else f"{QUESTIONS_MOUNT}/{suite.name}"
    return questions.below(mount)


def _mount(path: ClaimPath) -> str:
    return f"{FURTHER_SUITES_MOUNT}/{path.claim}"
