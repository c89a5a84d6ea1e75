"""`create`: ask for work in one's own name. The server checks everything before anything is created."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.create import obstacles
from tunegate.cli.documents import read_documents
from tunegate.cli.failure import AlreadyExists, CommandFailure, WrongUsage
from tunegate.cli.reference import needed, reference_of
from tunegate.cli.whoami import requester

OTHERS = {
    "FineTuneJob": "tunegate create job",
    "ModelRelease": "tunegate create release",
    "EvaluationSuite": "tunegate create suite",
}
"""By kind, the command that takes its documents."""
ASKED = {"model": "--model", "intended_use": "--intended-use", "risk": "--risk"}
"""What the release of a job needs, by the option's destination; a file says it itself."""
OBSTACLES: dict[type[Resource], Callable[[Cluster, Json, Namespace], list[obstacles.Obstacle]]] = {
    FineTuneJob: obstacles.of_job,
    ModelRelease: obstacles.of_release,
}


def job(cluster: Cluster, options: Namespace) -> int:
    """Create the jobs of a file, all or none as far as the server can tell beforehand."""
    return _create_from_file(cluster, FineTuneJob, options)


def release(options: Namespace) -> int:
    """Ask to serve a job's adapter, or create the releases of a file."""
    _check_release(options)
    cluster = Cluster.of(options)
    if options.filename is not None:
        return _create_from_file(cluster, ModelRelease, options)
    namespace = options.namespace or cluster.namespace
    job = needed(cluster, FineTuneJob, options.from_job, namespace)
    document = {
        "apiVersion": API_VERSION,
        "kind": "ModelRelease",
        "metadata": {"name": options.name or job.name, "namespace": namespace},
        "spec": {
            "jobRef": {"name": job.name, "uid": job.uid},
            "modelName": options.model,
            "intendedUse": options.intended_use,
            "risk": options.risk,
        },
    }
    create_all(cluster, ModelRelease, [_completed(cluster, ModelRelease, document, namespace)], options)
    return 0


def _check_release(options: Namespace) -> None:
    """Raise ``WrongUsage`` where a file is given what belongs to the release of a job, or this lacks something."""
    given = {option for name, option in ASKED.items() if getattr(options, name) is not None}
    if options.filename is not None and (given or options.name):
        raise WrongUsage(f"with -f the file says everything: leave out {', '.join(sorted(given)) or 'NAME'}")
    if options.from_job is not None and len(given) < len(ASKED):
        raise WrongUsage(f"with --from-job also give {', '.join(one for one in ASKED.values() if one not in given)}")


def _create_from_file(cluster: Cluster, model: type[Resource], options: Namespace) -> int:
    namespace = options.namespace or cluster.namespace
    documents = [_completed(cluster, model, document, namespace) for document in _from_file(options)]
    create_all(cluster, model, documents, options)
    return 0


def _from_file(options: Namespace) -> list[Any]:
    """Return the documents of the file. Raises ``WrongUsage`` when one names another namespace than the options."""
    documents = read_documents(options.filename)
    if not documents:
        raise WrongUsage(f"{options.filename}: nothing in it")
    for document in documents:
        metadata, spec = (document.get(field) if isinstance(document, dict) else None for field in ("metadata", "spec"))
        if metadata is not None and not isinstance(metadata, dict):
            raise CommandFailure(f"{options.filename}: metadata must be an object with a name")
        if spec is not None and not isinstance(spec, dict):
            raise CommandFailure(f"{options.filename}: spec must be an object")
        own = metadata.get("namespace") if metadata else None
        if own and options.namespace and own != options.namespace:
            raise WrongUsage(
                f"{options.filename} says namespace {own} and -n says {options.namespace}: leave one of them out, or give "
                f"-n {own}"
            )
    return documents


def _completed(cluster: Cluster, model: type[Resource], document: Any, namespace: str) -> Json:
    """Return the document with the caller, the namespace and the job's uid filled in where they are left out."""
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind != model.KIND.kind or document.get("apiVersion") != API_VERSION:
        raise CommandFailure(
            f"{kind or 'document'}: this command takes {model.KIND.kind} of {API_VERSION}; "
            f"for others use {OTHERS.get(str(kind), 'kubectl apply')} -f FILE"
        )
    metadata = {**(document.get("metadata") or {})}
    metadata.setdefault("namespace", namespace)
    spec = {**(document.get("spec") or {})}
    spec.setdefault("requestedBy", requester(cluster))
    reference = spec.get("jobRef")
    if kind == "ModelRelease" and isinstance(reference, dict) and "uid" not in reference and "name" in reference:
        job = cluster.need(FineTuneJob, str(reference["name"]), str(metadata["namespace"]))
        spec["jobRef"] = {**reference, "uid": job.uid}
    return {**document, "metadata": metadata, "spec": spec}


def create_all(cluster: Cluster, model: type[Resource], documents: list[Json], options: Namespace) -> None:
    """Create the documents once the server has agreed to all of them, or with ``options.dry_run`` none.

    With ``options.strict`` none is created where one will be refused or has to wait: raises ``CommandFailure``.
    """
    made: list[Json] = []
    found: list[list[obstacles.Obstacle]] = []
    for document in documents:
        made.append(_send(cluster, model, document, dry_run=True))
        found.append(OBSTACLES[model](cluster, document, options))
        for obstacle in found[-1]:
            print(f"warning: {screen.shown(obstacle.message)}", file=sys.stderr)
    if options.strict and any(found):
        raise CommandFailure("nothing was created: with --strict warnings count as a refusal")
    for document, pretended, told in zip(documents, made, found, strict=True):
        if not options.dry_run:
            _show(document)
        stored = pretended if options.dry_run else _send(cluster, model, document, dry_run=False)
        # Not of the document, which may have a `generateName` only.
        name, namespace = stored["metadata"]["name"], stored["metadata"]["namespace"]
        done = _told(told) if options.dry_run else "created"
        print(reference_of(model, name) if options.output == "name" else f"{model.KIND.kind} {namespace}/{name} {done}")


def _told(found: list[obstacles.Obstacle]) -> str:
    """Return what a dry run says of a document that the server would take."""
    return "would be created, and be refused" if any(one.refused for one in found) else "would be created"


def _send(cluster: Cluster, model: type[Resource], document: Json, *, dry_run: bool) -> Json:
    """Return the object as the API server made it. Raises ``AlreadyExists`` with what to do."""
    namespace = document["metadata"]["namespace"]
    try:
        return cluster.create(model, document, namespace, dry_run=dry_run)
    except AlreadyExists as error:
        advice = "give NAME before --from-job" if model is ModelRelease else "change metadata.name"
        raise AlreadyExists(f"{error}. Choose another name: {advice}") from None


def _show(document: Json) -> None:
    """Print what will be recorded, once the server has agreed to it: to the error stream, so that output can be piped."""
    metadata, spec = document["metadata"], document["spec"]
    person = spec["requestedBy"] if isinstance(spec.get("requestedBy"), dict) else {}
    groups = f" ({', '.join(map(str, person['groups']))})" if person.get("groups") else ""
    name = metadata.get("name") or f"{metadata['generateName']}…"
    text = f"{document['kind']} {metadata['namespace']}/{name}, requested by {person.get('username', '?')}{groups}"
    screen.heading(screen.console(stderr=True), "Recorded in your name:", text)
