"""`retry` and `clone`: a new job with the spec of an old one, in the caller's name, that names the job it was made from.

A job that has ended stays as it is, and its checkpoints belong to it: only its own attempts go on from them. What earlier
jobs measured of the same data, base model and suite is taken over by the new one all the same.
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Collection, Sequence

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import API_VERSION
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.create.create import create_all
from tunegate.cli.describe.words import text_of
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.jobs.settings import Setting, applied, value_at
from tunegate.cli.reference import needed
from tunegate.cli.whoami import requester

NUMBERED = re.compile(r"(.*)-([1-9][0-9]{0,3})")
CONTRIBUTOR = ("username", "personId")


def retry(cluster: Cluster, options: Namespace) -> int:
    """Create a job like one that has ended, under the next free name."""
    namespace = options.namespace or cluster.namespace
    job = needed(cluster, FineTuneJob, options.subject.name, namespace)
    if not job.status.ended:
        raise CommandFailure(_not_ended(job))
    taken = [one.name for one in readable(cluster.all, FineTuneJob, namespace) or [job]]
    return _rerun(cluster, job, next_name(job.name, taken), options)


def clone(cluster: Cluster, options: Namespace) -> int:
    """Create a job like another one, ended or not, under a name of the caller's choice."""
    job = needed(cluster, FineTuneJob, options.subject.name, options.namespace or cluster.namespace)
    return _rerun(cluster, job, options.name, options)


def next_name(name: str, taken: Collection[str]) -> str:
    """Return `NAME-2`, or the next number that is free; of a numbered name its own next one. Long names are cut."""
    numbered = NUMBERED.fullmatch(name)
    stem, number = (numbered[1], int(numbered[2])) if numbered else (name, 1)
    while True:
        number += 1
        end = f"-{number}"
        found = stem[: FineTuneJob.KIND.names.most - len(end)].rstrip("-") + end
        if found not in taken:
            return found


def new_spec(job: FineTuneJob, old: Json, asked_by: Json, settings: Sequence[Setting]) -> Json:
    """Return the spec of the new job. Whoever chose the old job's settings stays named among those who worked on it."""
    spec = {key: value for key, value in old.items() if key != "suspend"}
    known = list(old.get("contributors") or ())
    before = {key: value for key, value in old["requestedBy"].items() if key in CONTRIBUTOR}
    if before["username"] not in {asked_by["username"], *(one["username"] for one in known)}:
        known.append(before)
    spec |= {"requestedBy": asked_by, "derivedFrom": {"name": job.name, "uid": job.uid}}
    return applied(spec | ({"contributors": known} if known else {}), settings)


def _rerun(cluster: Cluster, job: FineTuneJob, name: str, options: Namespace) -> int:
    raw = cluster.get_raw(FineTuneJob, job.name, job.namespace)
    if raw is None or raw["metadata"]["uid"] != job.uid:
        raise CommandFailure(f"job/{job.name} was deleted in the meantime")
    settings: list[Setting] = options.settings or []
    paths = [str(one) for one in settings]
    if len(set(paths)) < len(paths):
        raise WrongUsage("--set names a field twice")
    document = {
        "apiVersion": API_VERSION,
        "kind": FineTuneJob.KIND.kind,
        "metadata": {"name": name, "namespace": job.namespace},
        "spec": new_spec(job, raw["spec"], requester(cluster), settings),
    }
    for one in settings:
        then, now = value_at(raw["spec"], one.path), one.value
        print(screen.shown(f"{one}: {text_of(then)} becomes {text_of(now)}"), file=sys.stderr)
    create_all(cluster, FineTuneJob, [document], options)
    return 0


def _not_ended(job: FineTuneJob) -> str:
    other = f"to try other settings beside it: tunegate clone job/{job.name} NAME --set FIELD=VALUE"
    if job.status.phase == "Suspended":
        return f"job/{job.name} is suspended: tunegate resume job/{job.name} goes on from its last checkpoint; {other}"
    return (
        f"job/{job.name} has not ended (it is {job.status.phase}): a stage without a verdict is tried again by itself, "
        f"training from its last checkpoint; {other}"
    )
