"""`--set FIELD=VALUE`: fields of a job's spec by their path, read as the API's models declare them. Pure."""

from __future__ import annotations

import types
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tunegate.api.finetunejob.spec import FineTuneJobSpec
from tunegate.cli.cluster import Json
from tunegate.cli.documents import Loader
from tunegate.cli.nearest import nearest

FILLED_IN = ("requestedBy", "derivedFrom")
"""Fields that the command writes itself."""


@dataclass(frozen=True)
class Setting:
    """One field and its new value; None takes the field away."""

    path: tuple[str, ...]
    value: Any

    def __str__(self) -> str:
        return ".".join(self.path)


def setting(text: str) -> Setting:
    """Read `FIELD=VALUE`, for ``argparse``. Raises ``ArgumentTypeError`` with the fields that there are."""
    name, equals, value = text.partition("=")
    path = tuple(name.removeprefix("spec.").split("."))
    if not equals:
        raise ArgumentTypeError(f"{text!r}: expected FIELD=VALUE, e.g. method.learningRate=0.0001")
    if path[0] in FILLED_IN:
        raise ArgumentTypeError(f"{path[0]} is filled in by this command")
    return Setting(path, _value(name, _field(path), value))


def applied(spec: Json, settings: Sequence[Setting]) -> Json:
    """Return the spec with the fields replaced. Objects on the way to a field are made where there are none."""
    changed = dict(spec)
    for one in settings:
        changed = _replaced(changed, one.path, one.value)
    return changed


def value_at(spec: Json, path: Sequence[str]) -> Any:
    """Return what a spec has at a path; None where it has nothing."""
    found: Any = spec
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _replaced(part: Json, path: tuple[str, ...], value: Any) -> Json:
    name, *rest = path
    inner = part.get(name)
    new = _replaced(dict(inner) if isinstance(inner, dict) else {}, tuple(rest), value) if rest else value
    return {key: one for key, one in {**part, name: new}.items() if one is not None}


def _field(path: Sequence[str]) -> FieldInfo:
    """Return the model's field at a path. Raises ``ArgumentTypeError``."""
    model: type[BaseModel] | None = FineTuneJobSpec
    field: FieldInfo | None = None
    for number, name in enumerate(path):
        fields = {one.alias or key: one for key, one in model.model_fields.items()} if model is not None else {}
        if name not in fields:
            raise ArgumentTypeError(_unknown(path[:number], name, sorted(fields.keys() - {*FILLED_IN})))
        field = fields[name]
        model = _model_of(field.annotation)
    if field is None:
        raise ArgumentTypeError("expected FIELD=VALUE")
    return field


def _unknown(before: Sequence[str], name: str, known: list[str]) -> str:
    where = ".".join(("spec", *before))
    if not known:
        return f"{where} has no fields of its own; give its whole value, e.g. {'.'.join(before)}=[…]"
    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
    return f"{where} has no field {name!r}; {hint}"


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, whether it may be absent or not; None for other fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return _model_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return next((model for one in get_args(annotation) if (model := _model_of(one)) is not None), None)
    return None


def _value(name: str, field: FieldInfo, text: str) -> Any:
    """Return the value as the field wants it: what YAML says, or else the text. Raises ``ArgumentTypeError``."""
    try:
        read = yaml.load(text, Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError:
        read = text
    if read is None:
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(_declared(field))
    problem = ""
    for value in (read, text):
        try:
            adapter.validate_python(value)
            return value
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            problem = problem or str(first["msg"])
    raise ArgumentTypeError(f"{name}={text}: {problem[0].lower()}{problem[1:]}")


def _declared(field: FieldInfo) -> Any:
    """Return the field's type with its bounds, and without its names."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
