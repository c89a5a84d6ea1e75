"""Lists of our own objects, as models."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from tunegate.api.markers import Resource

T = TypeVar("T", bound=Resource)
log = logging.getLogger(__name__)


def parsed(model: type[T], objects: Iterable[Mapping[str, Any]]) -> tuple[T, ...]:
    """Return the objects that can be read.

    One that was written under other rules is named in the log and left out: it must not stop what is done for the others.
    """
    found = []
    for raw in objects:
        try:
            found.append(model.model_validate(raw))
        except ValidationError as error:
            metadata = raw.get("metadata") or {}
            fields = sorted({".".join(str(part) for part in one["loc"]) for one in error.errors()})
            log.error(
                "an object cannot be read and is left out",
                extra={
                    "kind": model.KIND.kind,
                    "object": f"{metadata.get('namespace', '')}/{metadata.get('name', '')}",
                    "fields": fields[:10],
                },
            )
    return tuple(found)
