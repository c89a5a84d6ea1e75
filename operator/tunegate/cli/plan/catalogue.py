"""The objects that a job is planned with: those of files, and with `--from-cluster` those that the person may read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import API_VERSION, ApiModel, Resource
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.nearest import did_you_mean
from tunegate.errors import wrong_fields

R = TypeVar("R", bound=Resource)
KINDS: dict[str, type[Resource]] = {
    model.KIND.kind: model
    for model in (FineTuneJob, ModelServer, BaseModel, ComputePool, EvaluationSuite, ApprovalPolicy)
}
NOBODY = {"username": "whoever-submits", "personId": "whoever-submits"}
NO_NAMESPACE = "default"
NO_UID = "00000000-0000-0000-0000-000000000000"
NEEDED: tuple[type[Resource], ...] = (ModelServer, BaseModel, ComputePool, EvaluationSuite, ApprovalPolicy)
"""What a job depends on: of its namespace, or of the whole cluster."""


class Catalogue:
    """The objects of the files, by kind and name."""

    def __init__(self, documents: Iterable[Any]) -> None:
        """Raises ``CommandFailure`` for a document that is not one of ours or not as it must be."""
        self._objects: dict[tuple[str, str], Resource] = {}
        for document in documents:
            found = _parsed(document)
            if found is not None:
                self._objects[found.kind, found.name] = found

    def complete(self, documents: Iterable[Any]) -> None:
        """Add objects of the cluster; one of the files counts more than the cluster's of that name. Raises as above."""
        for document in documents:
            found = _parsed(document)
            if found is not None:
                self._objects.setdefault((found.kind, found.name), found)

    def jobs(self) -> list[FineTuneJob]:
        """Return all jobs."""
        return [one for one in self._objects.values() if isinstance(one, FineTuneJob)]

    def need(self, model: type[R], name: str, why: str) -> R:
        """Return the object of that name. Raises ``WrongUsage``."""
        found = self._objects.get((model.KIND.kind, name))
        if not isinstance(found, model):
            known = [named for kind, named in self._objects if kind == model.KIND.kind]
            raise WrongUsage(
                f"{model.KIND.kind} {name} ({why}) is in none of the files: add its file with --with.{did_you_mean(name, known)}"
            )
        return found

    def other_suites(self, name: str) -> dict[str, EvaluationSuite]:
        """Return all suites but the one of that name."""
        found = (one for one in self._objects.values() if isinstance(one, EvaluationSuite))
        return {suite.name: suite for suite in found if suite.name != name}

    def policy(self, name: str | None = None) -> ApprovalPolicy:
        """Return the policy of that name, or else the only one: which one binds a namespace is the platform's choice and stands in no file of a job."""
        if name is not None:
            return self.need(ApprovalPolicy, name, "--policy")
        found = [one for one in self._objects.values() if isinstance(one, ApprovalPolicy)]
        if len(found) != 1:
            raise WrongUsage(
                f"the files hold {len(found)} ApprovalPolicies: give exactly the namespace's own; with --from-cluster also "
                "say --policy NAME"
            )
        return found[0]


def of_cluster(cluster: Cluster, namespace: str) -> Iterator[Any]:
    """Yield all objects that jobs of a namespace depend on, as far as this person may read them."""
    for model in NEEDED:
        yield from readable(cluster.all_raw, model, namespace if model.KIND.scope == "Namespaced" else "") or ()


def _parsed(document: Any) -> Resource | None:
    """Return one of our objects; None for an object of another group or of a kind that a job does not depend on."""
    if not isinstance(document, dict) or document.get("apiVersion") != API_VERSION:
        return None
    model = KINDS.get(str(document.get("kind")))
    if model is None:
        return None
    metadata, spec = (_object(document, field) for field in ("metadata", "spec"))
    name = metadata.get("name") or metadata.get("generateName")
    if not isinstance(name, str):
        raise CommandFailure(f"{document['kind']}: metadata.name is missing or no text")
    metadata["name"] = name
    if model is FineTuneJob:
        # What the server and `create` fill in.
        metadata = {"uid": NO_UID, "namespace": NO_NAMESPACE, **metadata}
        spec.setdefault("requestedBy", NOBODY)
    try:
        found = model.model_validate({**document, "metadata": metadata, "spec": spec})
    except ValidationError as error:
        raise CommandFailure(f"{document['kind']} {name}: {wrong_fields(error)}{_quotes(error)}") from error
    unknown = list(_unknown(spec, getattr(found, "spec", None), "spec"))
    if unknown:
        raise CommandFailure(f"{document['kind']} {name}: there are no such fields: {', '.join(unknown)}")
    return found


def _object(document: dict[str, Any], field: str) -> dict[str, Any]:
    """Return a copy of an object's field. Raises ``CommandFailure`` where it is something else."""
    found = document.get(field) or {}
    if not isinstance(found, dict):
        raise CommandFailure(f"{document['kind']}: {field} must be an object")
    return dict(found)


def _quotes(error: ValidationError) -> str:
    """Return what to do where a number, true or false stands for text."""
    wrong = [
        entry for entry in error.errors() if entry["type"] == "string_type" and isinstance(entry["input"], int | float)
    ]
    return "".join(f". {'.'.join(map(str, entry['loc']))} is text: put {entry['input']} in quotes" for entry in wrong)


def _unknown(given: Any, read: Any, place: str) -> Iterator[str]:
    """Yield the fields that the model does not have: the API server refuses them. ``read``: what the model made of ``given``."""
    if isinstance(given, dict) and isinstance(read, ApiModel):
        fields = {info.alias or name: name for name, info in type(read).model_fields.items()}
        for name, value in given.items():
            if name not in fields:
                yield f"{place}.{name}"
            else:
                yield from _unknown(value, getattr(read, fields[name]), f"{place}.{name}")
    elif isinstance(given, list) and isinstance(read, list):
        for number, (value, kept) in enumerate(zip(given, read, strict=True)):
            yield from _unknown(value, kept, f"{place}[{number}]")
