"""Pushed questions on this machine: of the job's own suite and of the others, as far as this person may read them.

People who ask for jobs may not read them, and validation does. So what is closed to a person stops no plan: the checks that need
it are left out, and are named. It is no warning of the job's either, since validation would not have it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.numbers import count_of
from tunegate.api.pushed import Pushed, PushedPlace
from tunegate.cli import oci_registry
from tunegate.cli.failure import CommandFailure
from tunegate.cli.plan.pushed_data import Fetched, fetched
from tunegate.manifests.sources import RegistryPath
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.suites import MAX_SUITES, comparable
from tunegate.reconcile.suite_questions import questions_place
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import read_push

if TYPE_CHECKING:
    from tunegate_trainer.progress import ProgressBoard

AWAY = (oci_registry.RegistryAway, oci_registry.NoRegistry)
"""What concerns every address alike."""
CLOSED = "its questions were pushed, and only people with `get` on them read them here"
WITHOUT = (
    "so rows are not compared with them, and whether they fit the base model and can judge answers is not checked. Validation does both, "
    "before anything is trained"
)


@dataclass(frozen=True)
class PushedQuestions:
    """What was read, each by its address."""

    here: Mapping[str, Fetched] = field(default_factory=dict)
    gone: Mapping[str, Pushed | None] = field(default_factory=dict)
    """What was withdrawn; None: nothing was pushed."""
    closed: frozenset[str] = frozenset()
    """What this person may not read."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """What could not be read for another reason, which is said."""


def address_of(suite: EvaluationSuite) -> str | None:
    """Return where a suite's questions were pushed; None: they lie elsewhere."""
    place = questions_place(suite)
    return place.place.uri if isinstance(place, RegistryPath) else None


def read(seen: Observed, options: Namespace, board: ProgressBoard) -> PushedQuestions:
    """Fetch the questions of the job's suite, and of as many others as validation reads. Raises ``CommandFailure`` where the job's are gone."""
    own = address_of(seen.suite) if seen.suite else None
    others = comparable(seen.job, seen.policy, seen.other_suites) if seen.policy else []
    wanted = [uri for suite in others if (uri := address_of(suite)) not in (None, own)]
    found = _fetched([*([own] if own else []), *dict.fromkeys(wanted)], options, board, MAX_SUITES + bool(own))
    if own is not None and own in found.gone:
        pushed = found.gone[own]
        why = f"{pushed.withdrawn_by} withdrew {own}" if pushed else f"nothing was pushed at {own}"
        raise CommandFailure(f"the questions of the suite {seen.job.spec.suite_ref.name} cannot be used: {why}")
    return found


def notes(seen: Observed, questions: PushedQuestions) -> tuple[list[str], list[str]]:
    """Return what to say of suites whose questions are not here: what is closed to this person, and what validation may warn of too."""
    told, warned = [], []
    suite = seen.suite
    own = address_of(suite) if suite else None
    if suite and own in questions.closed:
        told.append(f"EvaluationSuite {suite.name}, the job's own: {CLOSED}, {WITHOUT}")
    if suite and own is not None and own in questions.failed:
        warned.append(
            f"EvaluationSuite {suite.name}, the job's own: its questions cannot be read ({questions.failed[own]}), {WITHOUT}"
        )
    closed = [
        name for name, one in sorted(seen.other_suites.items())
        if one is not None and (uri := address_of(one)) != own and uri in questions.closed
    ]  # fmt: skip
    if closed:
        named = f"{count_of(len(closed), 'suite')} of the namespace ({', '.join(closed)})"
        told.append(f"rows are not compared with {named} here: {CLOSED}. Validation compares them")
    return told, warned


def _fetched(uris: Iterable[str | None], options: Namespace, board: ProgressBoard, room: int) -> PushedQuestions:
    """Fetch from the addresses, until ``room`` of them are not gone."""
    places = [PushedPlace.of(uri) for uri in uris if uri is not None]
    here: dict[str, Fetched] = {}
    gone: dict[str, Pushed | None] = {}
    closed: set[str] = set()
    failed: dict[str, str] = {}
    if not places:
        return PushedQuestions()
    try:
        with oci_registry.opened(options) as registry:
            for place in places:
                if len(here) + len(closed) + len(failed) == room:
                    break
                try:
                    found = _one(registry, place, options, board)
                except oci_registry.RegistryClosed:
                    closed.add(place.uri)
                    continue
                except AWAY:
                    raise
                except CommandFailure as error:
                    failed[place.uri] = str(error)
                    continue
                if isinstance(found, Fetched):
                    here[place.uri] = found
                else:
                    gone[place.uri] = found
    except AWAY as error:
        rest = [place.uri for place in places if place.uri not in {*here, *gone, *closed, *failed}]
        failed |= dict.fromkeys(rest, str(error))
    return PushedQuestions(here, gone, frozenset(closed), failed)


def _one(
    registry: RegistryClient, place: PushedPlace, options: Namespace, board: ProgressBoard
) -> Fetched | Pushed | None:
    """Return what was fetched, or what is recorded of what nobody may use."""
    with oci_registry.in_plain_words():
        pushed = read_push(registry, place)
        gone = pushed is None or pushed.withdrawn_by is not None
        return pushed if pushed is None or gone else fetched(registry, pushed, options, board)
