"""Documents that programs of two versions write and read live: each file in `live/` is one of the first form, and is read for good.

A gateway runs on while the operator is upgraded, and reads what the newer one writes: what it cannot read closes every route. So
fields are added, and none is changed or taken away. The files are added to, never edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.api.markers import ApiModel
from tunegate.api.serving import AdaptersDocument, GatewayStatus, RoutesDocument

LIVE = Path(__file__).parent / "live"
MODELS: dict[str, type[ApiModel]] = {
    "adapters": AdaptersDocument,
    "gateway-status": GatewayStatus,
    "routes": RoutesDocument,
}
"""By the beginning of a file's name."""
FILES = sorted(LIVE.glob("*.json"))
DIGESTED = ("manifest",)
"""Fields whose whole content has a digest that people approved: an unknown field there is refused, and another form is another field."""

MAPS = ("closes", "routes", "seconds", "shadows", "watchers")
"""Fields that hold values by names, and no fields."""


def read(path: Path) -> tuple[type[ApiModel], Any]:
    return MODELS[path.stem.partition(".")[0]], json.loads(path.read_text())


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Yield the places of a document where another one says something else, or nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{place}.{key}") if key in after else [f"{place}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield place


def grown(document: Any) -> Any:
    """Return a document with a further field in each of its objects."""
    if isinstance(document, list):
        return [grown(one) for one in document]
    if not isinstance(document, dict):
        return document
    fields = {key: grown(value) for key, value in document.items() if key not in (*DIGESTED, *MAPS)}
    routes = {name: grown(route) if "targets" in route else route for name, route in document.get("routes", {}).items()}
    return {**document, **fields, **({"routes": routes} if routes else {}), "laterField": {"a": 1}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_document_of_the_first_form_is_read_and_written_with_all_that_it_says(path: Path) -> None:
    model, document = read(path)
    found = model.model_validate_json(json.dumps(document))
    assert [*lost(document, found.to_dict())] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fields_that_a_newer_version_adds_are_left_alone(path: Path) -> None:
    model, document = read(path)
    assert model.model_validate_json(json.dumps(grown(document))) == model.model_validate(document)


def missing(model: type[ApiModel], document: Any) -> set[str]:
    """Return the fields of a model that a document does not say."""
    return {field.alias or name for name, field in model.model_fields.items()} - set(document)


def test_every_live_document_has_a_small_and_a_full_one() -> None:
    assert {path.stem for path in FILES} == {f"{name}.{size}" for name in MODELS for size in ("small", "full")}
    assert [missing(*read(LIVE / f"{name}.full.json")) for name in MODELS] == [set()] * 3
