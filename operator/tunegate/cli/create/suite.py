"""`create suite`: read the questions, try the suite on them, push them, and only then freeze it."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from pydantic import ValidationError

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.markers import API_VERSION
from tunegate.api.pushed import SCHEME
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.create import suite_spec, suite_trial
from tunegate.cli.documents import read_documents
from tunegate.cli.exchange import Address, address
from tunegate.cli.failure import AlreadyExists, CommandFailure, WrongUsage
from tunegate.cli.local_files import chosen
from tunegate.cli.sending import send
from tunegate.manifests.sources import claim_path
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL
from tunegate.reconcile.suite_questions import closed

ADDRESS = "must be of the form pvc://CLAIM/path, or be left out, so that the questions are pushed"
OPTIONS = {
    "spec.data.uri": "uri", "spec.data.groupField": "group-field", "spec.task.type": "task", "spec.task.maxTokens": "max-tokens",
    "spec.task.jsonSchema": "schema", "spec.task.labels": "labels", "spec.primaryMetric.name": "metric",
    "spec.primaryMetric.margin": "margin", "spec.primaryMetric.minimum": "minimum", "spec.qualityBar": "quality-bar",
    "spec.guardrails": "guardrail", "spec.fewShot.shots": "shots", "spec.fewShot.systemPrompt": "system-prompt",
}  # fmt: skip
"""By field, the option that fills it."""
FRACTION = "must be a fraction from 0 to 1, such as 0.8"
HINTS = {
    "task": f"must be one of {', '.join(suite_spec.TASKS)}. Rewriting, summaries and all other free text are Generation; docs/suites.md has a table",
    "metric": f"must be one of {', '.join(suite_spec.METRICS)}",
    "margin": FRACTION,
    "minimum": FRACTION,
    "quality-bar": FRACTION,
}
"""By option, what it takes."""
NEW_NAME = "A suite never changes: give another NAME"


def suite(options: Namespace) -> int:
    """Try the suite, and create it unless it could not judge anything. Returns 1 when it is refused."""
    questions = suite_trial.read(options.from_)
    document = _from_file(options, questions) if options.filename else _from_options(options, questions)
    cluster = None if options.offline else Cluster.of(options)
    namespace = document["metadata"].get("namespace") or options.namespace or (cluster.namespace if cluster else None)
    document["metadata"] |= {"namespace": namespace} if namespace else {}
    pushes = _completed(document, options)
    to = address(options) if pushes and not (options.offline or options.dry_run) else None
    parsed = _parsed(document, by_options=options.filename is None)
    trial = suite_trial.try_out(parsed.spec, questions)
    trial.show(stderr=options.output != "text")
    if trial.refuses(strict=options.strict):
        raise CommandFailure(
            f"{parsed.name} was not created: correct what is refused above, and try again. A suite never changes once it is made"
        )
    stored = None
    if cluster and namespace:
        # Asked before anything is pushed: what is refused leaves nothing behind.
        stored = _send(cluster, document, namespace, dry_run=options.dry_run or to is not None)
        if to is not None:
            document["spec"]["data"]["uri"] = _pushed(options.from_, parsed.name, namespace, to)
            stored = _send(cluster, document, namespace, dry_run=False)
    _tell(options, document, stored)
    if options.output != "yaml":
        where = _where(document["spec"]["data"]["uri"], stored, pushes=pushes, to=to)
        where = where or _claimed(cluster, parsed, str(namespace or "the suite's namespace"))
        # Not broken into lines: an address is copied.
        print(where, file=sys.stderr if options.output != "text" else sys.stdout)
    return 0


def _completed(document: Json, options: Namespace) -> bool:
    """Tell whether the questions are pushed; then fill in an address of that form, which the push completes.

    Raises ``WrongUsage`` where a file for somebody else would lack the address.
    """
    data = document["spec"].setdefault("data", {})
    if data.get("uri"):
        return False
    if options.offline and options.output == "yaml":
        raise WrongUsage(
            "the object needs an address: give --uri pvc://CLAIM/path, or leave out --offline, and the questions are pushed"
        )
    metadata = document["metadata"]
    place = f"{metadata.get('namespace', 'namespace')}/questions/{metadata['name']}"
    data["uri"] = f"{SCHEME}{place}@sha256:{'0' * 64}"
    return True


def _pushed(file: str, name: str, namespace: str, to: Address) -> str:
    """Push the questions and return their address."""
    return str(send("questions", chosen("questions", [file]), name, namespace, None, to)["uri"])


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


def _parsed(document: Json, *, by_options: bool) -> EvaluationSuite:
    """Return the suite. Raises ``CommandFailure`` that names the field, or with ``by_options`` the option that was given."""
    try:
        return EvaluationSuite.model_validate(document)
    except ValidationError as error:
        reasons = [_reason(one, by_options) for one in error.errors(include_input=False, include_url=False)]
        raise CommandFailure(f"{'; '.join(reasons)}. See kubectl explain evaluationsuite.spec") from error


def _reason(error: Any, by_options: bool) -> str:
    path = ".".join(map(str, error["loc"]))
    option = next((name for field, name in OPTIONS.items() if path.startswith(field)), None) if by_options else None
    words = ADDRESS if path.endswith(".uri") else HINTS.get(option or "", str(error["msg"]))
    return f"--{option} ({path}): {words}" if option else f"{path}: {words}"


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


def _where(uri: str, stored: Json | None, *, pushes: bool, to: Address | None) -> str | None:
    """Return where pushed questions lie, or that they would; None: they lie on a claim."""
    if to is not None and stored is not None:
        return f"The questions lie at {uri}. Jobs read them there; people who ask for jobs cannot."
    if pushes:
        return "The questions would be pushed into the registry, since no --uri says where they lie."
    return f"The questions lie at {uri}." if uri.startswith(SCHEME) else None


def _claimed(cluster: Cluster | None, made: EvaluationSuite, namespace: str) -> str:
    """Return where the questions must lie on a claim, and what stands against it as far as this person may see."""
    place = claim_path(made.spec.data.uri)
    told = (
        f"The questions must lie at {place.path} on the PersistentVolumeClaim {place.claim} of {namespace}, with digest "
        f"{made.spec.data.digest}. The claim carries the label {USABLE_BY_JOBS_LABEL}=true."
    )
    if cluster is None:
        return told
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{place.claim}"
    claim = readable(lambda: [cluster.read(path)])
    why = closed(place.claim, claim[0], own=True) if claim else None
    return f"{told}\nwarning: {why}: jobs with this suite wait until it is." if why is not None else told
