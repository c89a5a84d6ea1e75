"""`create suite`: read the questions, try the suite on them, and only then freeze it."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from pydantic import ValidationError

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.markers import API_VERSION
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.create import suite_spec, suite_trial
from tunegate.cli.documents import read_documents
from tunegate.cli.failure import AlreadyExists, CommandFailure, WrongUsage
from tunegate.manifests.sources import claim_path
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL
from tunegate.reconcile.suite_questions import closed

ADDRESS = "must be of the form pvc://CLAIM/path"
NEW_NAME = "A suite never changes: give another NAME"


def suite(options: Namespace) -> int:
    """Try the suite, and create it unless it could not judge anything. Returns 1 when it is refused."""
    questions = suite_trial.read(options.from_)
    document = _from_file(options, questions) if options.filename else _from_options(options, questions)
    parsed = _parsed(document)
    trial = suite_trial.try_out(parsed.spec, questions)
    trial.show(stderr=options.output != "text")
    if trial.refuses(strict=options.strict):
        raise CommandFailure(
            f"{parsed.name} was not created: correct what is refused above, and try again. A suite never changes once it is made"
        )
    cluster = None if options.offline else Cluster.of(options)
    namespace = document["metadata"].get("namespace") or options.namespace or (cluster.namespace if cluster else None)
    document["metadata"] |= {"namespace": namespace} if namespace else {}
    stored = _send(cluster, document, namespace, dry_run=options.dry_run) if cluster and namespace else None
    _tell(options, document, stored)
    if options.output != "yaml":
        _tell_place(cluster, parsed, str(namespace or "the suite's namespace"), stderr=options.output != "text")
    return 0


def _from_options(options: Namespace, questions: suite_trial.Questions) -> Json:
    if options.name is None:
        raise WrongUsage("also give NAME, the suite's, or -f with a file that says everything")
    options = suite_spec.completed(options, questions.answers)
    return {
        "apiVersion": API_VERSION,
        "kind": EvaluationSuite.KIND.kind,
        "metadata": {"name": options.name},
        "spec": suite_spec.spec_of(options, questions.digest),
    }


def _from_file(options: Namespace, questions: suite_trial.Questions) -> Json:
    """Return the suite of the file, with the digest of the questions filled in where it is left out."""
    given = [
        f"--{name}"
        for name in (*suite_spec.FIELDS, *suite_spec.SWITCHES, "guardrail")
        if suite_spec.value(options, name)
    ]
    if options.name or given:
        raise WrongUsage(f"with -f the file says everything: leave out {', '.join(given) or 'NAME'}")
    documents = read_documents(options.filename)
    found: Any = documents[0] if len(documents) == 1 else None
    if not isinstance(found, dict) or found.get("kind") != EvaluationSuite.KIND.kind:
        raise CommandFailure(f"{options.filename}: this command takes exactly one EvaluationSuite of {API_VERSION}")
    metadata, spec = found.get("metadata"), found.get("spec")
    if not isinstance(metadata, dict) or "name" not in metadata or not isinstance(spec, dict):
        raise CommandFailure(f"{options.filename}: it needs metadata.name and spec")
    data: Any = spec.get("data")
    data = data if isinstance(data, dict) else {}
    promised = data.get("digest")
    if promised not in (None, questions.digest):
        raise CommandFailure(
            f"spec.data.digest: {options.from_} has digest {questions.digest}, the file says {promised}: leave it out, and it is filled in"
        )
    return {**found, "metadata": dict(metadata), "spec": {**spec, "data": {**data, "digest": questions.digest}}}


def _parsed(document: Json) -> EvaluationSuite:
    try:
        return EvaluationSuite.model_validate(document)
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, one['loc']))}: {ADDRESS if one['loc'][-1:] == ('uri',) else one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise CommandFailure(f"{'; '.join(reasons)}. See kubectl explain evaluationsuite.spec") from error


def _send(cluster: Cluster, document: Json, namespace: str, *, dry_run: bool) -> Json:
    try:
        return cluster.create(EvaluationSuite, document, namespace, dry_run=dry_run)
    except AlreadyExists as error:
        raise AlreadyExists(f"{error}. {NEW_NAME}") from None


def _tell(options: Namespace, document: Json, stored: Json | None) -> None:
    metadata = document["metadata"]
    if options.output == "yaml":
        screen.write(document, "yaml")
    elif options.output == "name":
        print(f"evaluationsuite/{metadata['name']}")
    elif stored is None:
        print(f"EvaluationSuite {metadata['name']} was tried; nothing was asked of a cluster")
    else:
        done = "would be created" if options.dry_run else "created"
        print(f"EvaluationSuite {metadata['namespace']}/{metadata['name']} {done}")


def _tell_place(cluster: Cluster | None, made: EvaluationSuite, namespace: str, *, stderr: bool) -> None:
    """Say where the questions must lie, and what stands against it as far as this person may see."""
    uri, digest = made.spec.data.uri, made.spec.data.digest
    out = screen.console(stderr=stderr, pipe_width=screen.PAGE_WIDTH)
    if not uri.startswith("pvc://"):
        out.print(f"The questions must lie at {uri}, with digest {digest}.")
        return
    place = claim_path(uri)
    out.print(
        f"The questions must lie at {place.path} on the PersistentVolumeClaim {place.claim} of {namespace}, with digest {digest}. "
        f"The claim carries the label {USABLE_BY_JOBS_LABEL}=true."
    )
    if cluster is None:
        return
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{place.claim}"
    claim = readable(lambda: [cluster.read(path)])
    why = closed(place.claim, claim[0], own=True) if claim else None
    if why is not None:
        out.print(f"warning: {why}: jobs with this suite wait until it is.", style="yellow")
