"""Answers on their way through: the model's public name goes in, the count of tokens is read off.

Source of the formats: streams of OpenAI's chat completions and Responses and of Anthropic's Messages, as vLLM sends them:
lines `data: <JSON>`, before them `event: <type>` where the API has types, and `data: [DONE]` where it has none.

Most events of a stream only carry text, so they are not parsed: the served name is replaced in the bytes. A quote within a
JSON string has a backslash before it, so `"model":"<name>"` is found only where it is a field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.gateway.endpoints import ErrorForm
from tunegate.gateway.errors import anthropic_type

PREFIX = b"data:"
USAGE = b'"usage"'
INNER = ("response", "message")
"""Fields of an event that hold a whole answer: of Responses, and of Messages."""
CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic's API does not count these among the `input_tokens`."""


@dataclass
class Usage:
    """Tokens of one request, as the engine counted them."""

    prompt: int = 0
    completion: int = 0

    def read(self, document: Mapping[str, Any]) -> None:
        """Take over the `usage` of an answer or of an event, where there is one."""
        for holder in (document, *(document.get(name) for name in INNER)):
            usage = holder.get("usage") if isinstance(holder, Mapping) else None
            if isinstance(usage, Mapping):
                cached = sum(int(usage.get(name) or 0) for name in CACHED)
                self.prompt = int(usage.get("prompt_tokens") or usage.get("input_tokens") or 0) + cached
                self.completion = int(usage.get("completion_tokens") or usage.get("output_tokens") or 0)


@dataclass
class EventRewriter:
    """Rewrites a stream piece by piece. Without ``wants_usage`` the event that only counts tokens is taken out.

    ``wants_usage``: of chats and completions, whether the client asked for it; of the others, true.
    """

    public: str
    served: str
    wants_usage: bool
    usage: Usage = field(default_factory=Usage)
    events: int = 0
    """About as many as there were; a text that looks like one counts, too."""
    _rest: bytes = b""
    _swallow_blank: bool = False

    def __post_init__(self) -> None:
        self._names = (_field(self.served), _field(self.public))
        self._served = b"" if self.served == self.public else self.served.encode()

    def feed(self, piece: bytes) -> bytes:
        """Return what can be sent on after ``piece``; an unfinished line waits for the next call."""
        end = piece.rfind(b"\n") + 1
        if not end:
            self._rest += piece
            return b""
        whole, self._rest = self._rest + piece[:end], piece[end:]
        self.events += whole.count(PREFIX)
        if not self._swallow_blank and (out := self._renamed(whole)) is not None:
            return out
        return b"".join(self._line(line) for line in whole[:-1].split(b"\n"))

    def close(self) -> bytes:
        """Return what is left when the stream ends without a line feed."""
        rest, self._rest = self._rest, b""
        return self._line(rest).removesuffix(b"\n") if rest else b""

    def _renamed(self, text: bytes) -> bytes | None:
        """Return whole lines under the public name; None when an event among them has to be parsed."""
        if USAGE in text:
            return None
        if not self._served:
            return text
        out = text.replace(*self._names)
        return None if self._served in out else out

    def _line(self, line: bytes) -> bytes:
        if not line.strip():
            blank, self._swallow_blank = not self._swallow_blank, False
            return b"\n" if blank else b""
        if not line.startswith(PREFIX):
            return line + b"\n"
        if (out := self._renamed(line)) is not None:
            return out + b"\n"
        try:
            event = json.loads(line[len(PREFIX) :])
        except ValueError:
            return line + b"\n"
        if not isinstance(event, dict):
            return line + b"\n"
        self.usage.read(event)
        if not self.wants_usage:
            if event.get("choices") == [] and event.get("usage"):
                self._swallow_blank = True
                return b""
            event.pop("usage", None)
        return PREFIX + b" " + json.dumps(renamed(event, self.served, self.public), ensure_ascii=False).encode() + b"\n"


def _field(model: str) -> bytes:
    return b'"model":' + json.dumps(model).encode()


@dataclass(frozen=True)
class Rewritten:
    """An answer as the client gets it, and the tokens that it cost."""

    body: bytes
    usage: Usage


def rewrite_answer(raw: bytes, served: str, public: str, status: int, form: ErrorForm) -> Rewritten | None:
    """Return an answer under the public name, errors in ``form``; None when it is no JSON object."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    usage = Usage()
    usage.read(document)
    told = renamed(document, served, public)
    if form == "Anthropic" and isinstance(told.get("error"), dict):
        error = {"type": anthropic_type(status), "message": str(told["error"].get("message", ""))}
        told = {"type": "error", "error": error}
    return Rewritten(json.dumps(told).encode(), usage)


def renamed(document: dict[str, Any], served: str, public: str) -> dict[str, Any]:
    """Return an answer with the public name for the served one: in `model`, and in the text of an error."""
    result = dict(document)
    if "model" in result:
        result["model"] = public
    for name in INNER:
        if isinstance(inner := result.get(name), dict) and "model" in inner:
            result[name] = {**inner, "model": public}
    error = result.get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        result["error"] = {**error, "message": error["message"].replace(served, public)}
    return result
