"""How the gate asked the tuned model: what serving takes for a request that does not say otherwise."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunegate.api.markers import ApiModel, LongText


class AskedAs(ApiModel):
    """The gate's request, beside its temperature, which is 0."""

    max_tokens: Annotated[int, Field(ge=1)]
    """The suite's `task.maxTokens`."""
    system_prompt: LongText | None = None
    """The system turn of every question; absent: there is none, or they differ, or it is too long."""
