"""The fields that `/v1/messages` takes, and their bounds.

Read from vLLM 0.32's `AnthropicMessagesRequest` and Anthropic's reference of the Messages API. Only text and tools that the
client runs are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.gateway.allowed_fields import (
    MOST_MESSAGES,
    MOST_PARTS,
    MOST_STOPS,
    MOST_TOKENS,
    MOST_TOOLS,
    SAMPLING,
    TEXT,
    schema_check,
    template_kwargs,
)
from tunegate.gateway.checks import (
    Check,
    anything,
    boolean,
    by_kind,
    dropped,
    each,
    either,
    fields,
    number,
    only,
    text,
    whole,
)
from tunegate.gateway.problems import Wrong
from tunegate.gateway.schemas import Budget

LEAST_THINKING = 1024
"""The least `budget_tokens` of Anthropic's API."""
_CACHE: Mapping[str, Check] = {"cache_control": dropped(anything)}
"""The engine finds equal beginnings of requests by itself."""
_TEXT_PART = fields({"type": anything, "text": TEXT, "citations": dropped(anything), **_CACHE}, ("text",))
_TEXTS = either(TEXT, each(by_kind({"text": _TEXT_PART}, ""), MOST_PARTS))


def _input(place: str, value: Any) -> Any:
    if not isinstance(value, dict):
        raise Wrong(place, "must be an object: the arguments of the call")
    return value


_BLOCKS = {
    "text": _TEXT_PART,
    "thinking": fields({"type": anything, "thinking": TEXT, "signature": text(4096)}, ("thinking",)),
    "redacted_thinking": fields({"type": anything, "data": TEXT}),
    "tool_use": fields(
        {"type": anything, "id": text(128, 1), "name": text(64, 1), "input": _input, **_CACHE}, ("id", "name", "input")
    ),
    "tool_result": fields(
        {"type": anything, "tool_use_id": text(128, 1), "content": _TEXTS, "is_error": boolean, **_CACHE},
        ("tool_use_id",),
    ),
}
_MESSAGE = fields(
    {"role": only("user", "assistant", "system"), "content": either(TEXT, each(by_kind(_BLOCKS, ""), MOST_PARTS))},
    ("role", "content"),
)


def _thinking(place: str, value: Any) -> Any:
    known: dict[str, Check] = {
        "type": only("enabled", "disabled", "adaptive"), "budget_tokens": whole(LEAST_THINKING, MOST_TOKENS),
        "display": dropped(anything),
    }  # fmt: skip
    found = fields(known, ("type",))(place, value)
    if (found["type"] == "enabled") != ("budget_tokens" in found):
        raise Wrong(place, "budget_tokens stands with type enabled, and only there")
    return found


def _choice(place: str, value: Any) -> Any:
    known: dict[str, Check] = {
        "type": only("auto", "any", "tool", "none"), "name": text(64, 1), "disable_parallel_tool_use": boolean
    }  # fmt: skip
    found = fields(known, ("type",))(place, value)
    if (found["type"] == "tool") != ("name" in found):
        raise Wrong(place, "name stands with type tool, and only there")
    return found


def messages_fields(budget: Budget) -> dict[str, Check]:
    """Return the checks of `/v1/messages`; those that bind the answer's form draw on ``budget``."""
    schema = schema_check(budget)
    tool = fields(
        {
            "type": dropped(only("custom")), "name": text(64, 1), "description": text(8192), "input_schema": schema,
            "strict": boolean, **_CACHE,
        },
        ("name", "input_schema"),
    )  # fmt: skip
    form = fields({"type": only("json_schema"), "schema": schema}, ("type", "schema"))
    return {
        **{name: SAMPLING[name] for name in ("cache_salt", "stream", "top_k", "top_p")},
        **_CACHE,
        "chat_template_kwargs": template_kwargs,
        "max_tokens": whole(1, MOST_TOKENS),
        "messages": each(_MESSAGE, MOST_MESSAGES, 1),
        "metadata": dropped(anything),
        "model": text(256, 1),
        "output_config": fields({"effort": only("low", "medium", "high", "xhigh", "max"), "format": form}),
        "service_tier": dropped(anything),
        "stop_sequences": each(text(256, 1), MOST_STOPS),
        "system": _TEXTS,
        "temperature": number(0, 2),
        "thinking": _thinking,
        "tool_choice": _choice,
        "tools": each(tool, MOST_TOOLS),
    }
