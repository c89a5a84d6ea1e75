"""The release that a person names; whoever misses it is told what there is."""

from __future__ import annotations

from difflib import get_close_matches

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import CommandFailure

KINDS: dict[str, type[FineTuneJob | ModelServer]] = {"job": FineTuneJob, "server": ModelServer}
"""What is named as `KIND/NAME`; a bare name is a release's."""


def release_named(cluster: Cluster, name: str, namespace: str) -> ModelRelease:
    """Return the release. Raises ``CommandFailure`` with objects of that name and releases of names like it."""
    found = cluster.get(ModelRelease, name, namespace)
    if found is not None:
        return found
    same = [f"{kind}/{name}" for kind, model in KINDS.items() if readable(cluster.get, model, name, namespace)]
    known = [one.name for one in readable(cluster.all, ModelRelease, namespace) or ()]
    there = [*same, *get_close_matches(name, known)]
    hint = f"; there is {' and '.join(there)}" if there else ""
    raise CommandFailure(f"ModelRelease {name} does not exist in namespace {namespace}{hint}")
