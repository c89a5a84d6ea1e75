"""From the bytes that a client sent to a request that the engine may see: one pure function, which may run anywhere.

A body is UTF-8 JSON, whatever its headers say. It is parsed once, checked field by field, and written again: the engine
sees only what was checked. The model's name is left out, since which adapter stands behind it is decided at the last moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.api.asked import AskedAs
from tunegate.gateway.allowed_fields import CHAT, COMPLETIONS, chat_fields, completion_fields
from tunegate.gateway.checks import fields, shown
from tunegate.gateway.problems import Problem, Wrong
from tunegate.gateway.schemas import Budget
from tunegate.strict_json import RepeatedName, strict_json

ENDPOINTS = (CHAT, COMPLETIONS)
DEFAULT_TOKENS = 256
"""What a chat of no stated length is counted as when shares are weighed; the engine's own bound is the context."""
DEFAULT_COMPLETION_TOKENS = 16
"""What vLLM and the OpenAI API take for a completion of no stated length."""
BYTES_PER_TOKEN = 4
SAMPLING_CHOICES = ("temperature", "top_p", "top_k", "min_p")
"""A client that sets one of these, or wants several answers, chooses how the next token is drawn."""
LENGTHS = ("max_tokens", "max_completion_tokens", "min_tokens")
FORMS = ("response_format", "structured_outputs", "tools")
INSTRUCTIONS = ("system", "developer")
"""Roles of turns that tell the model what to do."""


@dataclass(frozen=True)
class Checked:
    """A request that keeps all bounds."""

    public: str
    """The model's name as the client wrote it."""
    rest: bytes
    """All other fields as one JSON object, without `model`, `stream_options` and `messages`."""
    streams: bool
    stream_options: Mapping[str, bool]
    sequences: int
    """Answers that the engine writes at once: `n` times the number of prompts."""
    work: int
    """Tokens that it may come to, to weigh one client against another."""
    structured: bool
    """Whether the engine has to compile a schema, a pattern or a list of choices."""
    states_length: bool
    """Whether the client says how long an answer may be, or must be."""
    instructed: bool
    """Whether the client sends an instruction of its own: a turn of the role system or developer."""
    formed: bool
    """Whether the client says which form the answer has, `text` included, or offers tools."""
    chats: bool
    """Whether it is a chat, which is how the gate asks."""
    messages: bytes
    """Of a chat, its turns as one JSON array; empty otherwise."""
    may_call_tools: bool
    """Whether the model decides if it calls a tool, which the engine has to find in its answer."""

    def for_engine(self, served: str, asked_as: AskedAs | None = None) -> bytes:
        """Return the body that the engine gets, for the adapter that answers.

        ``asked_as``: how the gate asked that adapter; taken for what the client does not say.
        """
        head: dict[str, Any] = {"model": served}
        if self.streams:
            head["stream_options"] = {**self.stream_options, "include_usage": True}
        turns = self.messages
        if self.chats and asked_as is not None:
            if not self.states_length:
                head["max_tokens"] = asked_as.max_tokens
            if not self.formed and asked_as.response_format is not None:
                head["response_format"] = asked_as.response_format
            if not self.instructed and asked_as.system_prompt is not None:
                instruction = {"role": "system", "content": asked_as.system_prompt}
                turns = b"[" + _written(instruction) + b", " + turns[1:]
        told = b', "messages": ' + turns if self.chats else b""
        rest = self.rest[1:] if self.rest == b"{}" else b", " + self.rest[1:]
        return json.dumps(head).encode()[:-1] + told + rest


def check_body(endpoint: str, raw: bytes) -> Checked | Problem:
    """Return the checked request, or what is wrong with it."""
    try:
        document = _parse(raw)
        budget = Budget()
        known = chat_fields(budget) if endpoint == CHAT else completion_fields(budget)
        required = ("model", "messages") if endpoint == CHAT else ("model", "prompt")
        body = fields(known, required)("", document)
        return _checked(endpoint, body)
    except Wrong as error:
        return error.problem
    except (ValueError, RecursionError):
        return Problem("invalid_json", "the request's body is no JSON document in UTF-8")


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        document = strict_json(raw.decode("utf-8"))
    except RepeatedName as error:
        raise Wrong(shown(error.name), "stands twice in one object", "invalid_json") from None
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document


def _checked(endpoint: str, body: dict[str, Any]) -> Checked:
    streams = body.get("stream", False)
    options = body.pop("stream_options", {})
    if options and not streams:
        raise Wrong("stream_options", "stands only with stream: true")
    if body.get("min_tokens", 0) > _tokens(endpoint, body):
        raise Wrong("min_tokens", "must not be more than max_tokens")
    if "top_logprobs" in body and not body.get("logprobs"):
        raise Wrong("top_logprobs", "stands only with logprobs: true")
    if "logprobs" in body and body["logprobs"] is False:
        del body["logprobs"]
    if body.get("n", 1) == 1 and not body.keys() & set(SAMPLING_CHOICES):
        body["temperature"] = 0  # As the gate asked: the answers that people approved are the most likely ones.
    public = body.pop("model")
    prompts = _prompts(body)
    turns = body.pop("messages", None)
    messages = b"" if turns is None else _written(turns)
    rest = _written(body)
    sequences = body.get("n", 1) * prompts
    answer = sequences * _tokens(endpoint, body)
    return Checked(
        public=public,
        rest=rest,
        streams=streams,
        stream_options=options,
        sequences=sequences,
        work=answer + (len(rest) + len(messages)) // BYTES_PER_TOKEN,
        structured=_structured(body),
        states_length=bool(body.keys() & set(LENGTHS)),
        instructed=any(turn["role"] in INSTRUCTIONS for turn in turns or ()),
        formed=bool(body.keys() & set(FORMS)),
        chats=endpoint == CHAT,
        messages=messages,
        may_call_tools=bool(body.get("tools")) and body.get("tool_choice", "auto") == "auto",
    )


def _written(part: Any) -> bytes:
    return json.dumps(part, ensure_ascii=False, allow_nan=False).encode("utf-8")


def _tokens(endpoint: str, body: Mapping[str, Any]) -> int:
    stated = body.get("max_completion_tokens", body.get("max_tokens"))
    default = DEFAULT_TOKENS if endpoint == CHAT else DEFAULT_COMPLETION_TOKENS
    return int(stated) if stated is not None else max(default, body.get("min_tokens", 0))


def _prompts(body: Mapping[str, Any]) -> int:
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1


def _structured(body: Mapping[str, Any]) -> bool:
    asked = body.get("response_format", {}).get("type", "text") != "text"
    forced = body.get("tools") and body.get("tool_choice", "auto") not in ("none", "auto")
    return bool(asked or "structured_outputs" in body or forced)
