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
from tunegate.gateway.checks import fields, shown
from tunegate.gateway.endpoints import CHAT, ENDPOINTS, MESSAGES, RESPONSES, Endpoint
from tunegate.gateway.problems import Problem, Wrong
from tunegate.gateway.schemas import Budget
from tunegate.strict_json import RepeatedName, strict_json

BYTES_PER_TOKEN = 4
SAMPLING_CHOICES = ("temperature", "top_p", "top_k", "min_p")
"""A client that sets one of these, or wants several answers, chooses how the next token is drawn."""
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
    beside_form: Mapping[str, Any] | None
    """Where the client says no form: what it says in the field of the form (``Endpoint.format_in``), which ``rest`` is without."""
    endpoint: str
    """The path that it was sent to."""
    messages: bytes
    """Of a chat, its turns as one JSON array; empty otherwise."""
    greedy: bool
    """Whether it is asked at temperature 0, so that two answers can be compared."""
    may_call_tools: bool
    """Whether the model decides if it calls a tool, which the engine has to find in its answer."""

    def for_engine(self, served: str, asked_as: AskedAs | None = None) -> bytes:
        """Return the body that the engine gets, for the adapter that answers.

        ``asked_as``: how the gate asked that adapter; taken for what the client does not say.
        """
        endpoint = ENDPOINTS[self.endpoint]
        head: dict[str, Any] = {"model": served, **endpoint.forced}
        if self.streams and self.endpoint not in (RESPONSES, MESSAGES):  # Those count tokens without being asked to.
            head["stream_options"] = {**self.stream_options, "include_usage": True}
        if endpoint.format_in is not None and self.beside_form is not None:
            head[endpoint.format_in] = self.beside_form
        turns = self.messages
        if endpoint.turns is not None and asked_as is not None:
            if not self.states_length:
                head[endpoint.lengths[-1]] = asked_as.max_tokens
            if not self.formed and asked_as.response_format is not None:
                form = endpoint.in_form(asked_as.response_format)
                head |= {name: {**head[name], **said} if name in head else said for name, said in form.items()}
            if not self.instructed and asked_as.system_prompt is not None:
                if endpoint.instruction is not None:
                    head[endpoint.instruction] = asked_as.system_prompt
                else:
                    instruction = {"role": "system", "content": asked_as.system_prompt}
                    turns = b"[" + _written(instruction) + b", " + turns[1:]
        told = b', "messages": ' + turns if self.endpoint == CHAT else b""
        rest = self.rest[1:] if self.rest == b"{}" else b", " + self.rest[1:]
        return json.dumps(head).encode()[:-1] + told + rest


def check_body(path: str, raw: bytes) -> Checked | Problem:
    """Return the checked request to one of ``ENDPOINTS``, or what is wrong with it."""
    endpoint = ENDPOINTS[path]
    try:
        known = endpoint.checks(Budget())
        body = fields(known, endpoint.required, refused=endpoint.refused)("", _parse(raw))
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


def _checked(endpoint: Endpoint, body: dict[str, Any]) -> Checked:
    streams = body.get("stream", False)
    options = body.pop("stream_options", {})
    if options and not streams:
        raise Wrong("stream_options", "stands only with stream: true")
    _check_together(endpoint, body)
    if body.get("n", 1) == 1 and not body.keys() & set(SAMPLING_CHOICES):
        body["temperature"] = 0  # As the gate asked: the answers that people approved are the most likely ones.
    public = body.pop("model")
    prompts = _prompts(body)
    turns = body.get(endpoint.turns or "")
    beside = body.pop(endpoint.format_in or "", None)
    if beside is not None and "format" in beside:
        body[endpoint.format_in or ""], beside = beside, None
    messages = _written(body.pop("messages")) if endpoint.path == CHAT else b""
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
        states_length=bool(body.keys() & {*endpoint.lengths, "min_tokens"}),
        instructed=_instructed(endpoint, body, turns),
        formed=bool(body.keys() & {*endpoint.forms, endpoint.format_in} or body.get("tools")),
        beside_form=beside,
        endpoint=endpoint.path,
        messages=messages,
        greedy=body.get("temperature") == 0,
        may_call_tools=bool(body.get("tools")) and _tool_choice(body) in _PARSED.get(endpoint.path, ("auto",)),
    )


def _check_together(endpoint: Endpoint, body: dict[str, Any]) -> None:
    """Check fields that stand only with others. Raises ``Wrong``."""
    if body.get("min_tokens", 0) > _tokens(endpoint, body):
        raise Wrong("min_tokens", "must not be more than max_tokens")
    if "top_logprobs" in body and endpoint.path == CHAT and not body.get("logprobs"):
        raise Wrong("top_logprobs", "stands only with logprobs: true")
    if "logprobs" in body and body["logprobs"] is False:
        del body["logprobs"]
    if "structured_outputs" in body and "format" in body.get("text", {}):
        raise Wrong("structured_outputs", "stands only without text.format")
    budget = body.get("thinking", {}).get("budget_tokens", 0)
    if budget and budget >= body["max_tokens"]:
        raise Wrong("thinking.budget_tokens", "must be less than max_tokens")


def _instructed(endpoint: Endpoint, body: Mapping[str, Any], turns: Any) -> bool:
    """Tell whether the client tells the model what to do, by a field or by a turn of such a role."""
    if endpoint.instruction is not None and endpoint.instruction in body:
        return True
    return isinstance(turns, list) and any(turn.get("role") in INSTRUCTIONS for turn in turns)


_PARSED = {RESPONSES: ("auto", "required", "function")}
"""Choices at which the engine has to find calls in an answer. On other endpoints it writes a forced call by a schema."""


def _tool_choice(body: Mapping[str, Any]) -> str:
    """Return the choice in one word: none, auto, required, or the kind of a named tool."""
    choice = body.get("tool_choice", "auto")
    return str(choice.get("type", "function")) if isinstance(choice, dict) else str(choice)


_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _written(part: Any) -> bytes:
    return _write(part).encode("utf-8")


def _tokens(endpoint: Endpoint, body: Mapping[str, Any]) -> int:
    stated = [int(body[name]) for name in endpoint.lengths if name in body]
    return stated[0] if stated else max(endpoint.default_tokens, int(body.get("min_tokens", 0)))


def _prompts(body: Mapping[str, Any]) -> int:
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1


def _structured(body: Mapping[str, Any]) -> bool:
    forms = (body.get("response_format", {}), body.get("text", {}).get("format", {}))
    asked = any(form.get("type", "text") != "text" for form in forms) or "format" in body.get("output_config", {})
    forced = body.get("tools") and _tool_choice(body) not in ("none", "auto")
    return bool(asked or "structured_outputs" in body or forced)
