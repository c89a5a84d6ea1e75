"""`wait`: until a release, a job or a server is in a phase, or has a condition."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError, Namespace
from dataclasses import dataclass
from typing import Any, get_args

from tunegate.api.conditions import find
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import ENDED as JOB_ENDED
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster
from tunegate.cli.decisions import FINAL
from tunegate.cli.failure import CommandFailure, Unreachable, WrongUsage
from tunegate.cli.reference import JOB, MODELS, RELEASE, SERVER, needed
from tunegate.cli.screen import shown

POLL_SECONDS = 2.0
MET, TIMED_OUT = 0, 3
"""Exit statuses, beside that of a failure: what is awaited cannot come any more."""
ENDED = {RELEASE: FINAL, JOB: JOB_ENDED, SERVER: ()}
"""By kind, phases that nothing but another of them follows."""
Waited = ModelRelease | FineTuneJob | ModelServer


@dataclass(frozen=True)
class Awaited:
    """A phase, or a condition with its status."""

    kind: str
    name: str
    status: str = ""

    def __str__(self) -> str:
        return f"{self.kind}={self.name}" + (f"={self.status}" if self.status not in ("", "True") else "")

    def met(self, one: Waited) -> bool:
        """Tell whether the object is so."""
        return self.found(one) == (self.name if self.kind == "phase" else self.status)

    def found(self, one: Waited) -> str:
        """Return the object's phase, or the condition's status; "" where it has none."""
        if self.kind == "phase":
            return str(one.status.phase)
        condition = find(one.status.conditions, self.name)
        return condition.status if condition is not None else ""

    def hopeless(self, one: Waited, kind: str) -> bool:
        """Tell whether the object has ended, so that it will never be so."""
        ended = one.status.phase in ENDED[kind]
        return ended and (kind == JOB or (self.kind == "phase" and self.name not in ENDED[kind]))


def awaited(text: str) -> Awaited:
    """Read what `--for` says. Raises ``ArgumentTypeError``."""
    kind, _, rest = text.partition("=")
    name, equals, status = rest.partition("=")
    if kind == "phase" and name and not equals:
        return Awaited(kind, name)
    if kind == "condition" and name and (status in ("True", "False", "Unknown") or not equals):
        return Awaited(kind, name, status or "True")
    raise ArgumentTypeError(f"{text!r}: expected phase=PHASE, condition=TYPE or condition=TYPE=True|False|Unknown")


def phases(model: type[Resource]) -> tuple[str, ...]:
    """Return the phases that the API has for a kind."""
    status: Any = model.model_fields["status"].annotation
    return get_args(status.model_fields["phase"].annotation)


def wait(options: Namespace) -> int:
    """Look again and again, and print what changed, until it is so or cannot be, or until the time is over."""
    subject, wanted = options.subject, options.awaited
    known = phases(MODELS[subject.kind])
    if wanted.kind == "phase" and wanted.name not in known:
        raise WrongUsage(f"--for {wanted}: the phases of a {subject.kind} are {', '.join(known)}")
    cluster = Cluster.of(options)
    namespace = options.namespace or cluster.namespace
    deadline = time.monotonic() + options.timeout
    seen: Waited = needed(cluster, MODELS[subject.kind], subject.name, namespace)
    _say(f"waiting for {wanted} of {subject}, at most {options.timeout} s; {_standing(seen)}")
    while not wanted.met(seen):
        if wanted.hopeless(seen, subject.kind):
            raise CommandFailure(f"{subject} will not get to {wanted}: {_standing(seen)}")
        left = deadline - time.monotonic()
        if left <= 0:
            _say(f"tunegate: {subject} did not get to {wanted} in {options.timeout} s; {_standing(seen)}")
            return TIMED_OUT
        time.sleep(min(POLL_SECONDS, left))
        before, seen = seen, _again(cluster, seen, namespace)
        if (before.status.phase, wanted.found(before), tenths(before)) != (
            seen.status.phase, wanted.found(seen), tenths(seen),
        ):  # fmt: skip
            _say(f"{subject}: {_standing(seen)}")
    print(f"{subject}: {wanted}")
    return MET


def _again(cluster: Cluster, seen: Waited, namespace: str) -> Waited:
    """Return the object as it is now; as it was, while the API server does not answer. Raises ``CommandFailure``."""
    try:
        found = cluster.get(type(seen), seen.name, namespace)
    except Unreachable as error:
        _say(f"{error}; still waiting")
        return seen
    if found is None or found.uid != seen.uid:
        raise CommandFailure(f"{seen.kind} {seen.name} was deleted in the meantime")
    return found


def tenths(one: Waited) -> int | None:
    """Return how many tenths of its stage a job has done; None where nothing is said of it."""
    progress = one.status.progress if isinstance(one, FineTuneJob) else None
    return progress.percent // 10 if progress is not None else None


def _standing(one: Waited) -> str:
    message = f": {one.status.message}" if one.status.message else ""
    progress = one.status.progress if isinstance(one, FineTuneJob) else None
    percent = f"{progress.percent} %" if progress is not None else ""
    return f"it is {one.status.phase}{message}{f', {percent}' if percent not in message else ''}"


def _say(text: str) -> None:
    print(shown(text), file=sys.stderr, flush=True)
