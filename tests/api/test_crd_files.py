"""The committed definitions are what the models say, and models that cannot be expressed are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field

from tunegate.api.approval import Approval
from tunegate.api.crd import definition, files, stale
from tunegate.api.kinds import KINDS
from tunegate.api.markers import LIST_ATOMIC, ApiModel, Kind, Names, Resource
from tunegate.api.schema import SchemaError, structural_schema

ROOT = Path(__file__).parents[2]


def test_committed_files_equal_the_generated_ones() -> None:
    wrong = stale(files(ROOT / "crds", ROOT / "charts" / "tunegate-crds"))

    assert [] == wrong, "run `python -m tunegate.api.crd`"


def test_an_edited_file_is_noticed(tmp_path: Path) -> None:
    texts = files(tmp_path / "crds", None)
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    edited = tmp_path / "crds" / "approvals.yaml"
    edited.write_text(edited.read_text().replace("maxLength: 2048", "maxLength: 4096"))
    (tmp_path / "crds" / "ghosts.yaml").write_text("left over")

    assert [edited, tmp_path / "crds" / "ghosts.yaml"] == stale(texts)


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.KIND.kind)
def test_nested_defaults_are_filled_in_by_the_server(model: type[Resource]) -> None:
    """What the model fills in when an object is read, the schema fills in when it is stored."""
    spec = model.model_fields["spec"].annotation
    assert spec is not None
    properties = structural_schema(model)["properties"]["spec"]["properties"]

    for name, info in spec.model_fields.items():
        outside = info.alias or name
        assert ("default" in properties[outside]) == (not info.is_required() and info.default is not None), outside


class _Spec(ApiModel):
    fine: Annotated[str, Field(max_length=3)] = ""


def _schema_with(annotation: Any) -> dict[str, Any]:
    spec = type("Spec", (_Spec,), {"__annotations__": {"field": annotation}, "__module__": __name__})
    namespace: dict[str, Any] = {
        "__annotations__": {"spec": spec, "KIND": ClassVar[Kind]},
        "KIND": Kind("Thing", "things", (), "Namespaced", (), Names("is part of nothing")),
        "__module__": __name__,
        "__doc__": "Doc.",
    }
    return structural_schema(type("Thing", (Resource,), namespace))


@pytest.mark.parametrize(
    ("annotation", "complaint"),
    [
        (str, "needs maxLength"),
        (list[int], "needs maxItems"),
        (Annotated[list[int], Field(max_length=3)], "x-kubernetes-list-type"),
        (Annotated[list[str], Field(max_length=3, json_schema_extra=LIST_ATOMIC)], "needs maxLength"),
        (dict[str, bool], "needs maxProperties"),
        (float, "type 'number'"),
        (int | bool, "anyOf"),
        (Annotated[int, Field(multiple_of=3)], "multipleOf"),
    ],
    ids=str,
)
def test_a_model_that_the_server_would_refuse_is_refused_here(annotation: Any, complaint: str) -> None:
    with pytest.raises(SchemaError, match=complaint):
        _schema_with(annotation)


def test_optional_means_absent_and_exclusive_bounds_are_translated() -> None:
    schema = _schema_with(Annotated[int, Field(gt=3)] | None)

    field = schema["properties"]["spec"]["properties"]["field"]
    assert {"type": "integer", "format": "int64", "minimum": 3, "exclusiveMinimum": True} == field


def test_approvals_can_be_listed_by_what_they_decide_on() -> None:
    version = definition(Approval)["spec"]["versions"][0]
    paths = [field["jsonPath"] for field in version["selectableFields"]]
    assert paths == [".spec.subjectRef.kind", ".spec.subjectRef.name", ".spec.subjectRef.uid", ".spec.decision"]
    for path in paths:
        node: Any = version["schema"]["openAPIV3Schema"]
        for name in path.split(".")[1:]:
            node = node["properties"][name]
        assert node["type"] == "string", path


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.KIND.kind)
def test_people_choose_between_values_or_are_not_asked(model: type[Resource]) -> None:
    """A choice of one value is none; values are PascalCase, but the media type that another program reads."""

    def walk(node: dict[str, Any], path: str) -> None:
        values = node.get("enum", [])
        if not path.endswith(".payloadType"):
            assert len(values) != 1, path
            assert [one for one in values if isinstance(one, str) and not one[:1].isupper()] == [], path
        for name, child in node.get("properties", {}).items():
            walk(child, f"{path}.{name}")
        for keyword in ("items", "additionalProperties"):
            if keyword in node:
                walk(node[keyword], path)

    walk(structural_schema(model), model.KIND.kind)
