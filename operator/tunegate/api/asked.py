"""How the gate asked the tuned model: what serving takes for a request that does not say otherwise."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from tunegate.api.markers import ApiModel, LongText

JsonSchemaText = Annotated[str, Field(max_length=16384)]
"""A JSON Schema as text."""


class AskedAs(ApiModel):
    """The gate's request, beside its temperature, which is 0."""

    max_tokens: Annotated[int, Field(ge=1)]
    """The suite's `task.maxTokens`."""
    system_prompt: LongText | None = None
    """The system turn of every question; absent: there is none, or they differ, or it is too long."""
    json_schema: JsonSchemaText | None = None
    """The schema that answers keep to; absent: the suite's `task.decoding` is `Free`."""

    @cached_property
    def response_format(self) -> dict[str, Any] | None:
        """The field of a chat that has answers keep to the schema, as in the OpenAI API."""
        return None if self.json_schema is None else keeping_to(json.loads(self.json_schema))

    def defaults(self) -> dict[str, Any]:
        """Return what a chat gets that says nothing else, by the fields of a request; `system_prompt` is a turn before it."""
        told = {
            "max_tokens": self.max_tokens,
            "system_prompt": self.system_prompt,
            "response_format": self.response_format,
        }
        return {"temperature": 0, **{name: value for name, value in told.items() if value is not None}}


def keeping_to(schema: Any) -> dict[str, Any]:
    """Return the `response_format` by which gate and gateway ask for answers of a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
