"""The fields that `/v1/responses` takes, and their bounds. A request stands for itself: nothing is stored.

Read from vLLM 0.32's `ResponsesRequest` and OpenAI's reference of the Responses API. Only text and functions are taken; of
an earlier answer its messages and calls, which the client sends again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.gateway.allowed_fields import (
    EFFORTS,
    HARMLESS,
    MOST_LOGPROBS,
    MOST_MESSAGES,
    MOST_PARTS,
    MOST_TOKENS,
    MOST_TOOLS,
    SAMPLING,
    TEXT,
    constraint_fields,
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
    only,
    text,
    whole,
)
from tunegate.gateway.problems import Wrong
from tunegate.gateway.schemas import Budget

SHARED_SAMPLING = (
    "frequency_penalty", "ignore_eos", "include_stop_str_in_output", "logit_bias", "min_p", "presence_penalty",
    "repetition_penalty", "seed", "skip_special_tokens", "stop", "stop_token_ids", "stream", "temperature", "top_k", "top_p",
    "cache_salt",
)  # fmt: skip
"""What vLLM's `ResponsesRequest` has in common with its chat."""
SHARED_HARMLESS = (
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
)
LOGPROBS = "message.output_text.logprobs"

_ID, _STATUS = text(128), only("completed", "incomplete", "in_progress")
_PARTS = {
    "input_text": fields({"type": anything, "text": TEXT}, ("text",)),
    "output_text": fields(
        {"type": anything, "text": TEXT, "annotations": dropped(anything), "logprobs": dropped(anything)}, ("text",)
    ),
}
_CONTENT = either(TEXT, each(by_kind(_PARTS, "input_text"), MOST_PARTS))
_REASONING = fields({"type": only("reasoning_text", "summary_text"), "text": TEXT}, ("type", "text"))
_MESSAGE = fields(
    {
        "type": anything, "role": only("system", "developer", "user", "assistant"), "content": _CONTENT,
        "id": _ID, "status": _STATUS, "phase": dropped(anything),
    },
    ("role", "content"),
)  # fmt: skip
_ITEMS: Mapping[str, Check] = {
    "message": _MESSAGE,
    "function_call": fields(
        {
            "type": anything, "name": text(64, 1), "arguments": TEXT, "call_id": text(128, 1), "id": _ID, "status": _STATUS,
            "namespace": dropped(anything),
        },
        ("name", "arguments", "call_id"),
    ),
    "function_call_output": fields(
        {"type": anything, "call_id": text(128, 1), "output": TEXT, "id": _ID, "status": _STATUS}, ("call_id", "output")
    ),
    "reasoning": fields(
        {
            "type": anything, "id": _ID, "status": _STATUS, "summary": each(_REASONING, MOST_PARTS),
            "content": each(_REASONING, MOST_PARTS), "encrypted_content": dropped(only("")),
        },
        ("summary",),
    ),
}  # fmt: skip


def _background(place: str, value: Any) -> Any:
    if value is not False:
        raise Wrong(place, "must be false: an answer is given at once, and nothing is kept to be read later")
    return value


def _input(place: str, value: Any) -> Any:
    """Take a text, or the items of a conversation. What the engine's models want of each item is filled in."""
    if not isinstance(value, list):
        return text(len(value) if isinstance(value, str) else 0, 1)(place, value)
    return [_completed(item) for item in each(by_kind(_ITEMS, "message"), MOST_MESSAGES, 1)(place, value)]


def _completed(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("role") == "assistant" and isinstance(item["content"], list):
        # vLLM takes an earlier answer's parts only in the form that it wrote them.
        item["content"] = [{**part, "type": "output_text"} for part in item["content"]]
        return {**item, "type": "message"}
    return item


def responses_fields(budget: Budget) -> dict[str, Check]:
    """Return the checks of `/v1/responses`; those that bind the answer's form draw on ``budget``."""
    schema = schema_check(budget)

    def form(place: str, value: Any) -> Any:
        named = {"name": text(64), "description": text(1024), "strict": boolean, "schema": schema}
        known: dict[str, Check] = {"type": only("text", "json_object", "json_schema"), **named}
        found = fields(known, ("type",))(place, value)
        if found["type"] == "json_schema":
            return fields(known, ("name", "schema"))(place, value)
        if found.keys() & named.keys():
            raise Wrong(place, "name, description, strict and schema stand with type json_schema, and only there")
        return found

    tool = fields(
        {
            "type": only("function"), "name": text(64, 1), "description": text(8192), "parameters": schema,
            "strict": boolean,
        },
        ("type", "name"),
    )  # fmt: skip
    chosen = fields({"type": only("function"), "name": text(64, 1)}, ("type", "name"))
    words = only("none", "auto", "required")

    def choice(place: str, value: Any) -> Any:
        return chosen(place, value) if isinstance(value, dict) else words(place, value)

    return {
        **{name: SAMPLING[name] for name in SHARED_SAMPLING},
        **{name: HARMLESS[name] for name in SHARED_HARMLESS},
        "chat_template_kwargs": template_kwargs,
        "background": dropped(_background),
        "include": each(only(LOGPROBS, "reasoning.encrypted_content"), 2),
        "include_reasoning": boolean,
        "input": _input,
        "instructions": TEXT,
        "max_output_tokens": whole(1, MOST_TOKENS),
        "model": text(256, 1),
        "parallel_tool_calls": boolean,
        "reasoning": fields(
            {"effort": only(*EFFORTS), "summary": dropped(anything), "generate_summary": dropped(anything)}
        ),
        "store": dropped(anything),
        "stream_options": dropped(fields({"include_obfuscation": boolean})),
        "structured_outputs": constraint_fields(budget)["structured_outputs"],
        "text": fields({"format": form, "verbosity": dropped(anything)}),
        "tool_choice": choice,
        "tools": each(tool, MOST_TOOLS),
        "top_logprobs": whole(0, MOST_LOGPROBS),
        "truncation": only("auto", "disabled"),
    }
