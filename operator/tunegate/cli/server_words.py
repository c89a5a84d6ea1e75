"""What the API server says of a wrong object, with what to write instead: its own words are for people who know its schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import DataUri, QuestionsUri, Resource, VolumeUri
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.nearest import nearest
from tunegate.cli.rights import with_givers

NOT_TEXT = re.compile(r'in body must be of type string: "(?:integer|number|boolean)"')
NOT_CHECKED = re.compile(
    r',? ?<nil>: Invalid value: "?null"?: some validation rules were not checked because the object was invalid; '
    r"correct the existing errors to complete validation"
)
UNKNOWN = re.compile(r'unknown field "([A-Za-z0-9.\[\]]+)"')
PATTERN = re.compile(r"in body should match '(.+?)'(?=$|[,\]])")
KINDS: tuple[type[Resource], ...] = (FineTuneJob, ModelRelease, EvaluationSuite)
FORMS = {
    DataUri: "pvc://CLAIM/path, s3://BUCKET/key or oci://NAMESPACE/datasets/NAME@sha256:…, as `tunegate data push` prints it",
    QuestionsUri: "pvc://CLAIM/path, or oci://NAMESPACE/questions/NAME@sha256:…, where `tunegate create suite` pushed the questions",
    VolumeUri: "pvc://CLAIM/path",
}
"""What an address looks like, in place of the regular expression that says it."""


def with_advice(message: str) -> str:
    """Return the API server's message, with what to do, and without rules that were not checked."""
    message = NOT_TEXT.sub(r"\g<0> (put it in quotes)", NOT_CHECKED.sub("", message))
    message = PATTERN.sub(lambda found: f"should be {_FORM[found[1]]}" if found[1] in _FORM else found[0], message)
    return with_givers(UNKNOWN.sub(lambda found: found[0] + _meant(found[1]), message))


def _meant(path: str) -> str:
    """Return a question for the field that was probably meant by one that does not exist."""
    *parents, name = re.sub(r"\[\d+\]", "", path).split(".")
    found = nearest(name, [field for kind in KINDS for field in _fields(kind, parents)])
    return f": did you mean {found}?" if found else ""


def _fields(kind: type[Resource], parents: list[str]) -> Iterator[str]:
    schema = kind.model_json_schema(by_alias=True)
    found: Any = schema
    for parent in parents:
        found = _resolved(found, schema).get("properties", {}).get(parent, {})
    yield from _resolved(found, schema).get("properties", {})


def _resolved(part: Any, schema: Any) -> Any:
    """Follow references, lists and optional values to the object that they stand for."""
    while True:
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        elif "items" in part:
            part = part["items"]
        elif "anyOf" in part or "allOf" in part:
            part = (part.get("anyOf") or part["allOf"])[0]
        else:
            return part


def _pattern(form: Any) -> str:
    return next(str(one.pattern) for field in form.__metadata__ for one in field.metadata if hasattr(one, "pattern"))


_FORM = {_pattern(form): words for form, words in FORMS.items()}
