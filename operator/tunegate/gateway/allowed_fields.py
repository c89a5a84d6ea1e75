"""The fields that chats and completions take, and their bounds. What is not listed is refused by name.

Read from the request models of vLLM 0.32 and of the OpenAI API. Three kinds are left out on purpose, and ``refused_fields``
says why of each: what reaches into the engine or past other clients, what costs the engine more than its text shows (beam
search, grammars, structural tags), and what no engine here can do (images, audio, files).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.gateway import schemas
from tunegate.gateway.checks import (
    INT64,
    TOKEN_ID,
    Check,
    anything,
    boolean,
    dropped,
    each,
    either,
    fields,
    number,
    only,
    shown,
    text,
    token_ids,
    whole,
)
from tunegate.gateway.problems import Wrong
from tunegate.gateway.schemas import Budget

MOST_ANSWERS = 128
MOST_TOKENS = 1_000_000
MOST_MESSAGES = 2_048
MOST_PARTS = 256
MOST_PROMPTS = 64
MOST_TOOLS = 64
MOST_LOGPROBS = 20
MOST_STOPS = 4
"""Of vLLM (`VLLM_MAX_STOP_STRINGS`) and of OpenAI's API."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
WHOLE_BODY = 64 * 1024 * 1024
"""Texts are bounded by the body, whose bound is a setting."""
TEMPLATE_NAMES = frozenset({"chat_template", "conversation", "documents", "messages", "tokenize", "tools"})


def _stop(place: str, value: Any) -> Any:
    return either(text(256, 1), each(text(256, 1), MOST_STOPS))(place, value)


def _logit_bias(place: str, value: Any) -> Any:
    bias = number(-100, 100)
    if not isinstance(value, dict) or len(value) > 300:
        raise Wrong(place, "must be an object of at most 300 token ids")
    for key, one in value.items():
        if not (key.isascii() and key.isdigit() and int(key[:9]) < TOKEN_ID and len(key) < 9):
            raise Wrong(f"{place}.{shown(key)}", "must be a token id")
        bias(f"{place}.{shown(key)}", one)
    return value


def _cache_salt(place: str, value: Any) -> Any:
    if any(character in "@/\\\x00" for character in text(128, 1)(place, value)):
        raise Wrong(place, "must hold none of @, /, \\ and NUL")
    return value


def template_kwargs(place: str, value: Any) -> Any:
    """Take plain values for the switches that the model's own template has."""
    if not isinstance(value, dict) or len(value) > 16:
        raise Wrong(place, "must be an object of at most 16 switches of the model's own template")
    for name, one in value.items():
        inner = f"{place}.{shown(name)}"
        if not name.isidentifier() or len(name) > 64 or name in TEMPLATE_NAMES:
            raise Wrong(inner, "is not a switch of a template", "field_not_allowed")
        if isinstance(one, str):
            text(256)(inner, one)
        elif one is not None and not isinstance(one, bool):
            number(-1e9, 1e9)(inner, one)
    return value


SAMPLING: Mapping[str, Check] = {
    "add_special_tokens": boolean,
    "allowed_token_ids": token_ids(1024),
    "bad_words": each(text(128, 1), 64),
    "cache_salt": _cache_salt,
    "frequency_penalty": number(-2, 2),
    "ignore_eos": boolean,
    "include_stop_str_in_output": boolean,
    "logit_bias": _logit_bias,
    "max_tokens": whole(1, MOST_TOKENS),
    "min_p": number(0, 1),
    "min_tokens": whole(0, MOST_TOKENS),
    "n": whole(1, MOST_ANSWERS),
    "presence_penalty": number(-2, 2),
    "repetition_penalty": number(0, 10, above=True),
    "return_token_ids": boolean,
    "return_tokens_as_token_ids": boolean,
    "seed": whole(-INT64, INT64 - 1),
    "skip_special_tokens": boolean,
    "spaces_between_special_tokens": boolean,
    "stop": _stop,
    "stop_token_ids": token_ids(64),
    "stream": boolean,
    "stream_options": fields({
        "include_usage": boolean, "continuous_usage_stats": boolean, "include_obfuscation": dropped(boolean),
    }),
    "temperature": number(0, 2),
    "thinking_token_budget": whole(-1, MOST_TOKENS),
    "top_k": whole(-1, TOKEN_ID),
    "top_p": number(0, 1, above=True),
    "truncate_prompt_tokens": whole(-1, MOST_TOKENS),
    "truncation_side": only("left", "right"),
}  # fmt: skip
HARMLESS: Mapping[str, Check] = {
    "best_of": dropped(only(1)),
    "echo": dropped(only(False)),
    "metadata": dropped(anything),
    "prompt_cache_key": dropped(anything),
    "prompt_cache_retention": dropped(anything),
    "safety_identifier": dropped(anything),
    "service_tier": dropped(anything),
    "store": dropped(anything),
    "use_beam_search": dropped(only(False)),
    "user": dropped(anything),
    "verbosity": dropped(anything),
}
"""Taken, since ordinary clients send them, and not sent on."""

TEXT = text(WHOLE_BODY)
_PART = fields({"type": only("text"), "text": TEXT}, ("type", "text"), "a part of text: nothing else is taken")
_CALL = fields(
    {
        "id": text(128), "type": only("function"), "index": dropped(anything),
        "function": fields({"name": text(64, 1), "arguments": TEXT}, ("name",)),
    },
    ("function",),
)  # fmt: skip
_MESSAGE = fields(
    {
        "role": only("system", "developer", "user", "assistant", "tool"),
        "content": either(TEXT, each(_PART, MOST_PARTS)),
        "name": text(64),
        "tool_call_id": text(128),
        "tool_calls": each(_CALL, MOST_TOOLS),
        "reasoning": TEXT,
        "reasoning_content": TEXT,
        "refusal": dropped(anything),
        "annotations": dropped(anything),
    },
    ("role",),
)


def schema_check(budget: Budget) -> Check:
    """Return the check of a JSON schema that draws on ``budget``."""

    def schema(place: str, value: Any) -> Any:
        return schemas.check_schema(place, value, budget)

    return schema


def constraint_fields(budget: Budget) -> dict[str, Check]:
    """Return the checks of fields that bind the answer's form; they draw on one budget."""
    schema = schema_check(budget)

    def pattern(place: str, value: Any) -> Any:
        return schemas.check_pattern(place, value, budget)

    def choices(place: str, value: Any) -> Any:
        return schemas.check_choices(place, value, budget)

    def structured(place: str, value: Any) -> Any:
        known = {
            "json": schema, "regex": pattern, "choice": choices, "json_object": only(True),
            "disable_any_whitespace": boolean, "disable_additional_properties": boolean,
        }  # fmt: skip
        found = fields(known)(place, value)
        if len({"json", "regex", "choice", "json_object"} & found.keys()) != 1:
            raise Wrong(place, "must hold exactly one of json, regex, choice, json_object")
        return found

    def response_format(place: str, value: Any) -> Any:
        named = fields(
            {"name": text(64), "description": text(1024), "strict": boolean, "schema": schema}, ("name", "schema")
        )
        known = {"type": only("text", "json_object", "json_schema"), "json_schema": named}
        found = fields(known, ("type",))(place, value)
        if (found["type"] == "json_schema") != ("json_schema" in found):
            raise Wrong(place, "json_schema stands with type json_schema, and only there")
        return found

    return {"response_format": response_format, "structured_outputs": structured}


def tool_fields(budget: Budget) -> dict[str, Check]:
    """Return the checks of fields about tools."""
    schema = schema_check(budget)
    function = fields(
        {"name": text(64, 1), "description": text(8192), "parameters": schema, "strict": boolean}, ("name",)
    )
    chosen = fields({"type": only("function"), "function": fields({"name": text(64, 1)}, ("name",))}, ("function",))
    words = only("none", "auto", "required")

    def choice(place: str, value: Any) -> Any:
        return chosen(place, value) if isinstance(value, dict) else words(place, value)

    return {
        "tools": each(fields({"type": only("function"), "function": function}, ("type", "function")), MOST_TOOLS, 1),
        "tool_choice": choice,
        "parallel_tool_calls": boolean,
    }


def chat_fields(budget: Budget) -> dict[str, Check]:
    """Return the checks of `/v1/chat/completions`."""
    return {
        **SAMPLING,
        **HARMLESS,
        **constraint_fields(budget),
        **tool_fields(budget),
        "add_generation_prompt": boolean,
        "chat_template_kwargs": template_kwargs,
        "continue_final_message": boolean,
        "include_reasoning": boolean,
        "logprobs": boolean,
        "max_completion_tokens": whole(1, MOST_TOKENS),
        "messages": each(_MESSAGE, MOST_MESSAGES, 1),
        "modalities": dropped(only(["text"])),
        "model": text(256, 1),
        "reasoning_effort": only(*EFFORTS),
        "top_logprobs": whole(0, MOST_LOGPROBS),
    }


def _prompt(place: str, value: Any) -> Any:
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return each(either(text(WHOLE_BODY, 1), token_ids(MOST_TOKENS)), MOST_PROMPTS, 1)(place, value)
    return either(text(WHOLE_BODY, 1), token_ids(MOST_TOKENS))(place, value)


def completion_fields(budget: Budget) -> dict[str, Check]:
    """Return the checks of `/v1/completions`."""
    return {
        **SAMPLING,
        **HARMLESS,
        **constraint_fields(budget),
        "logprobs": whole(0, MOST_LOGPROBS),
        "model": text(256, 1),
        "prompt": _prompt,
    }
