"""How people name an object: `KIND/NAME`, where a bare name is a release's; a name that does not exist is answered with names like it."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import CommandFailure

RELEASE, JOB, SERVER = "release", "job", "server"
MODELS: dict[str, type[ModelRelease | FineTuneJob | ModelServer]] = {
    RELEASE: ModelRelease, JOB: FineTuneJob, SERVER: ModelServer,
}  # fmt: skip
T = TypeVar("T", bound=Resource)


@dataclass(frozen=True)
class Reference:
    """An object of the command's namespace."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def reference_to(*kinds: str) -> Callable[[str], Reference]:
    """Return a reader of references to these kinds, for ``argparse``; a name alone is a release, if one is allowed."""

    def read(text: str) -> Reference:
        kind, _, name = text.rpartition("/")
        kind = kind or (RELEASE if RELEASE in kinds else "")
        if kind not in kinds or not name:
            raise ArgumentTypeError(f"{text!r}: expected {expected(kinds)}")
        return Reference(kind, name)

    return read


def expected(kinds: tuple[str, ...]) -> str:
    """Return how objects of these kinds are named."""
    forms = " or ".join(f"{kind}/NAME" for kind in kinds)
    return f"{forms}; a bare NAME is a release" if RELEASE in kinds else forms


def needed(cluster: Cluster, model: type[T], name: str, namespace: str) -> T:
    """Return the object. Raises ``CommandFailure`` with objects of that name and those of the kind with names like it."""
    found = cluster.get(model, name, namespace)
    if found is not None:
        return found
    same = [
        f"{kind}/{name}"
        for kind, other in MODELS.items()
        if other is not model and readable(cluster.get, other, name, namespace)
    ]
    known = [one.name for one in readable(cluster.all, model, namespace) or ()]
    word = reference_of(model, "")
    there = [*same, *(f"{word}{one}" for one in get_close_matches(name, known))]
    hint = f"; there is {' and '.join(there)}" if there else ""
    raise CommandFailure(f"{model.KIND.kind} {name} does not exist in namespace {namespace}{hint}")


def reference_of(model: type[Resource], name: str) -> str:
    """Return how a person names an object of that kind."""
    return next(f"{kind}/{name}" for kind, known in MODELS.items() if known is model)
