"""May pushed data be used: it is there and not withdrawn, and the job says of it what the exchange recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.pushed import SCHEME, Declaration, Pushed, PushedKind, PushedPlace
from tunegate.api.reasons import JobReason
from tunegate.api.shared import SERVICE_ACCOUNT
from tunegate.manifests.sources import ClaimPath, RegistryPath, StorePath, data_path
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.refusals import Blocked

NOUNS: Mapping[PushedKind, str] = {"datasets": "data", "documents": "documents", "questions": "questions"}
"""What people and the command line call each kind."""


def named_pushes(job: FineTuneJob, suite: EvaluationSuite | None = None) -> dict[str, str]:
    """Return the addresses in the registry that a job and its suite name, each with its field. A malformed one is refused elsewhere."""
    spec = job.spec
    named = {spec.dataset.uri: "spec.dataset.uri"}
    if suite is not None:
        named[suite.spec.data.uri] = f"EvaluationSuite {suite.name} spec.data.uri"
    if spec.baseline.documents:
        named[spec.baseline.documents.uri] = "spec.baseline.documents.uri"
    return {uri: where for uri, where in named.items() if uri.startswith(SCHEME)}


def located(seen: Observed, uri: str) -> ClaimPath | StorePath | RegistryPath:
    """Return where an input lies; of pushed data also whether it is one file."""
    path, pushed = data_path(uri), seen.pushed.get(uri)
    return replace(path, file=pushed.file) if isinstance(path, RegistryPath) and pushed else path


def unusable(seen: Observed) -> Iterator[Blocked]:
    """Yield what is in the way of using pushed data."""
    for uri, where in named_pushes(seen.job, seen.suite).items():
        if not seen.takes_pushes:
            message = f"{where}: data is pushed into the chart's own registry only, and this installation uses another. Use pvc:// or s3://."
            yield Blocked(JobReason.BAD_INPUT, message, final=True)
        elif uri not in seen.pushed:
            yield Blocked(
                JobReason.WAITING_FOR_REGISTRY,
                f"What was pushed at {uri} ({where}) can't be read now. It is tried again; see whether the registry runs.",
            )
        elif (pushed := seen.pushed[uri]) is None:
            program = NOUNS[PushedPlace.of(uri).kind]
            message = f"{where}: nothing was pushed at {uri}. `tunegate {program} list` shows what was. Create a new job with a right address."
            yield Blocked(JobReason.BAD_INPUT, message, final=True)
        else:
            yield from _refused(seen, pushed, where)


def _refused(seen: Observed, pushed: Pushed, where: str) -> Iterator[Blocked]:
    if pushed.withdrawn_by is not None:
        when = f" at {pushed.withdrawn_time}" if pushed.withdrawn_time else ""
        message = f"{where}: {pushed.withdrawn_by} withdrew the {NOUNS[pushed.place.kind]}{when}. Create a new job with others that may be used."
        yield Blocked(JobReason.NOT_ALLOWED, message, final=True)
    declared = pushed.declaration
    if declared is None:  # Questions: nothing is trained on them.
        return
    if pushed.place.kind == "datasets":
        yield from _said_otherwise(seen, declared)
    elif declared.expiration_date and seen.today > declared.expiration_date:
        message = f"{where}: the documents may be kept until {declared.expiration_date}, as declared. Create a new job with others."
        yield Blocked(JobReason.NOT_ALLOWED, message, final=True)
    yield from _unnamed(seen, pushed, where)


def _said_otherwise(seen: Observed, declared: Declaration) -> Iterator[Blocked]:
    """The job repeats what was declared: it is what policy, reviewers and evidence go by."""
    said = seen.job.spec.dataset
    pairs = {
        "classification": (said.classification, declared.classification),
        "license": (said.license, declared.license),
        "source": (said.source, declared.source),
        "steward": (said.steward, declared.steward),
    }
    for field, (ours, theirs) in pairs.items():
        if ours != theirs:
            message = f"spec.dataset.{field} is {ours!r}, but the data was pushed as {theirs!r}. Create a new job that says the same."
            yield Blocked(JobReason.NOT_ALLOWED, message, final=True)
    until = declared.expiration_date
    if until and (said.expiration_date is None or said.expiration_date > until):
        message = f"The data was pushed to be kept until {until}: create a new job with spec.dataset.expirationDate of that day or an earlier one."
        yield Blocked(JobReason.NOT_ALLOWED, message, final=True)


def _unnamed(seen: Observed, pushed: Pushed, where: str) -> Iterator[Blocked]:
    """A person who brought the data in may not approve what is trained on it: so the job has to name them."""
    requester = seen.job.spec.requested_by
    known = {requester.username, *(one.username for one in seen.job.spec.contributors)}
    people = {requester.person_id, *(one.person_id for one in seen.job.spec.contributors)} - {None}
    if pushed.pushed_by.startswith(SERVICE_ACCOUNT) or pushed.pushed_by in known or pushed.person_id in people:
        return
    who = f"{{username: {pushed.pushed_by}}}" if pushed.person_id is None else (
        f"{{username: {pushed.pushed_by}, personId: {pushed.person_id}}}"
    )  # fmt: skip
    message = f"{where}: {pushed.pushed_by} pushed the data, so they may not approve the release. Create a new job with spec.contributors: [{who}]."
    yield Blocked(JobReason.NOT_ALLOWED, message, final=True)
