"""Requests of a client that tries everything: good ones, changed at random in fields, headers, schemas, charsets and form."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

WORDS = [
    "",
    "a",
    "Hello",
    "\u0000",
    "\ud800",
    "\U0001f600",
    "\u202e",
    "x" * 300,
    "x" * 20_000,
    "\\",
    '"',
    "{{7*7}}",
    "</s>",
    "\n",
]
NUMBERS: list[Any] = [
    0, -0.0, 1, -1, 2, 7, 16, 17, 128, 129, 1024, 16_384, 2**31, 2**53, 2**63, -(2**63) - 1, 10**30, 0.1, 0.5, 1.0, 1e-9,
    1e308, 1.5,
]  # fmt: skip
ODD: list[Any] = [None, True, False, [], {}, [[]], [{}], {"": None}, "true", "1", "null", "NaN"]
FIELDS = [
    "add_generation_prompt", "add_special_tokens", "allowed_token_ids", "bad_words", "best_of", "cache_salt", "chat_template",
    "chat_template_kwargs", "continue_final_message", "documents", "echo", "frequency_penalty", "guided_json", "ignore_eos",
    "include_reasoning", "include_stop_str_in_output", "kv_transfer_params", "length_penalty", "logit_bias",
    "logits_processors", "logprob_token_ids", "logprobs", "max_completion_tokens", "max_tokens", "messages", "metadata",
    "min_p", "min_tokens", "mm_processor_kwargs", "modalities", "model", "n", "parallel_tool_calls", "presence_penalty",
    "priority", "prompt", "prompt_embeds", "prompt_logprobs", "reasoning_effort", "repetition_detection",
    "repetition_penalty", "request_id", "response_format", "return_token_ids", "return_tokens_as_token_ids", "seed",
    "skip_special_tokens", "spaces_between_special_tokens", "stop", "stop_token_ids", "store", "stream", "stream_interval",
    "stream_options", "structured_outputs", "suffix", "temperature", "thinking_token_budget", "tool_choice", "tools", "top_k",
    "top_logprobs", "top_p", "truncate_prompt_tokens", "truncation_side", "use_beam_search", "user", "vllm_xargs", "\ud800", "background",
    "enable_response_messages", "include", "input", "instructions", "max_output_tokens", "output_config", "previous_response_id",
    "reasoning", "stop_sequences", "system", "text", "thinking", "truncation",
]  # fmt: skip
CHAT, COMPLETIONS, RESPONSES, MESSAGES = PATHS = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
)  # fmt: skip
PARTS = ("text", "image_url", "input_audio", "file", "input_text", "input_image", "image", "thinking", "tool_result")
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
    {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
    {"type": "function_call_output", "call_id": "c", "output": "42"},
    {"type": "reasoning", "summary": []},
]
CHARSETS = [
    "utf-8",
    "UTF-8",
    '"utf-8"',
    "punycode",
    "utf-16",
    "latin-1",
    "idna",
    "utf-7",
    "unicode_escape",
    "\u00e9",
    "",
    "x" * 500,
]
ENCODINGS = ["gzip", "deflate", "br", "zstd", "identity", "x", "gzip, gzip"]
KEYWORDS = [
    "type", "properties", "items", "enum", "const", "pattern", "format", "minLength", "maxLength", "minItems", "maxItems",
    "anyOf", "oneOf", "allOf", "$ref", "$defs", "additionalProperties", "required", "minimum", "maximum", "multipleOf", "not",
    "if", "patternProperties", "propertyNames", "prefixItems", "uniqueItems", "title", "default", "minProperties",
]  # fmt: skip
PATTERN_PIECES = [
    "a", "[a-z]", ".", r"\d", r"\w", "(", ")", "|", "*", "+", "?", "{2}", "{1,3}", "{1,200}", "{0,9}", "^", "$", "[^x]", "(?:",
    "(?=", r"\1", r"\p{L}", "[", "]", "{", "\\", "é", "(?i)", ".*", "x?", "(a|b)",
]  # fmt: skip


@dataclass
class Sent:
    """One request as it goes over the wire."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Mutations:
    """The same seed gives the same requests."""

    def __init__(self, seed: int, models: list[str]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._models = models

    def next(self) -> Sent:
        """Return another request."""
        pick = self._random
        (path,) = pick.choices(PATHS, (4, 2, 2, 2))
        body = self._good(path)
        for _ in range(pick.choice((0, 1, 1, 2, 2, 3, 3, 4))):
            pick.choice((self._field, self._field, self._field, self._constrain, self._remove, self._message))(body)
        sent = Sent(path, self._encoded(body))
        if pick.random() < 0.15:
            self._bytes(sent)
        if pick.random() < 0.15:
            self._headers(sent)
        return sent

    def _good(self, path: str) -> dict[str, Any]:
        pick = self._random
        length = "max_output_tokens" if path == RESPONSES else "max_tokens"
        body: dict[str, Any] = {"model": pick.choice(self._models), length: pick.randint(1, 4)}
        turns = [{"role": "user", "content": f"Say {pick.randint(0, 99)}."}]
        if path in (CHAT, MESSAGES):
            return {**body, "messages": turns}
        if path == RESPONSES:
            return {**body, "input": pick.choice(["Hello", turns, [*turns, *ITEMS]])}
        return {**body, "prompt": pick.choice(["Hello", ["Hello", "World"], [1, 2, 3], [[1, 2], [3]]])}

    def _value(self, depth: int = 0) -> Any:
        pick = self._random
        kind = pick.randint(0, 5 if depth < 4 else 2)
        if kind <= 2:
            return pick.choice((WORDS, NUMBERS, ODD)[kind])
        if kind == 3:
            return [self._value(depth + 1) for _ in range(pick.choice((0, 1, 3, 20)))]
        if kind == 4:
            return {pick.choice([*WORDS[:6], *KEYWORDS]): self._value(depth + 1) for _ in range(pick.choice((0, 1, 3)))}
        return self._schema(depth + 1)

    def _field(self, body: dict[str, Any]) -> None:
        body[self._random.choice(FIELDS)] = self._value()

    def _remove(self, body: dict[str, Any]) -> None:
        if body:
            del body[self._random.choice(list(body))]

    def _message(self, body: dict[str, Any]) -> None:
        messages = body.get("messages", body.get("input"))
        if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict):
            return
        pick = self._random
        name = pick.choice(
            ["role", "content", "name", "tool_calls", "tool_call_id", "audio", "refusal", "reasoning", "x"]
        )
        parts = [{"type": kind, kind: self._value()} for kind in PARTS]
        messages[0][name] = pick.choice([self._value(), [pick.choice(parts)], "assistant", "tool", "system"])

    def _constrain(self, body: dict[str, Any]) -> None:
        pick = self._random
        schema = self._schema(0)
        named = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        flat = {"type": "function", "name": "f", "parameters": schema}
        block = {"name": "f", "input_schema": schema}
        body.update(
            pick.choice(
                [
                    {"response_format": named},
                    {"response_format": {"type": pick.choice(["json_object", "text", "structural_tag", "grammar"])}},
                    {"structured_outputs": {"json": schema}},
                    {"structured_outputs": {"json": json.dumps(schema)}},
                    {"structured_outputs": {"regex": self._pattern()}},
                    {"structured_outputs": {"choice": [pick.choice(WORDS) for _ in range(pick.choice((1, 3, 50)))]}},
                    {"structured_outputs": {"grammar": 'root ::= "a" | root root'}},
                    {"text": {"format": {"type": "json_schema", "name": "s", "schema": schema}}},
                    {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
                    {
                        "tools": [flat],
                        "tool_choice": pick.choice(["none", "required", {"type": "function", "name": "f"}]),
                    },
                    {"tools": [block], "tool_choice": {"type": pick.choice(["none", "any", "auto"])}},
                    {"tools": [block], "tool_choice": {"type": "tool", "name": "f"}},
                    {"tools": [tool], "tool_choice": pick.choice(["none", "auto", "required", tool])},
                ]
            )
        )

    def _schema(self, depth: int) -> Any:
        pick = self._random
        if depth > 5:
            return {"type": "string"}
        schema: dict[str, Any] = {
            "type": pick.choice(["object", "array", "string", "integer", "number", "boolean", "null"])
        }
        if pick.random() < 0.6:
            schema["properties"] = {f"p{index}": self._schema(depth + 1) for index in range(pick.choice((0, 1, 2, 5)))}
        for _ in range(pick.choice((0, 0, 1, 2))):
            keyword = pick.choice(KEYWORDS)
            schema[keyword] = pick.choice([
                pick.choice(NUMBERS), self._pattern(), [self._schema(depth + 1)], self._schema(depth + 1), "#/$defs/a", "#",
                {"a": self._schema(depth + 1)}, pick.choice(ODD), ["a", "b", 1], ["p0"],
            ])  # fmt: skip
        return schema

    def _pattern(self) -> str:
        return "".join(self._random.choice(PATTERN_PIECES) for _ in range(self._random.choice((1, 2, 4, 8, 30))))

    def _encoded(self, body: dict[str, Any]) -> bytes:
        if self._random.random() < 0.2:
            return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return json.dumps(body).encode()

    def _bytes(self, sent: Sent) -> None:
        pick = self._random
        raw = bytearray(sent.body)
        for _ in range(pick.choice((1, 1, 5))):
            place = pick.randrange(len(raw) + 1)
            piece = pick.choice(
                [b"", b"\xff", b"\x00", b"[" * 500, b"{", b'"', b",", b"1e999", b"NaN", b"-", b"\xef\xbb\xbf"]
            )
            raw[place : place + pick.choice((0, 1, 5))] = piece
        sent.body = bytes(raw)

    def _headers(self, sent: Sent) -> None:
        pick = self._random
        kind = pick.randint(0, 4)
        if kind == 0:
            sent.headers["Content-Type"] = f"application/json; charset={pick.choice(CHARSETS)}"
        elif kind == 1:
            sent.headers["Content-Encoding"] = pick.choice(ENCODINGS)
        elif kind == 2:
            sent.headers["Content-Type"] = pick.choice(
                ["text/plain", "", "application/json;", "a/b/c", "application/JSON"]
            )
        elif kind == 3:
            sent.headers[f"X-{pick.randint(0, 9)}"] = pick.choice(["a", "x" * 9000, "é", "Bearer x"])
        else:
            sent.path = pick.choice(
                ["/v1/embeddings", "/v1/models", "/v1//completions", "/metrics", "/tokenize", "/%ff"]
            )
