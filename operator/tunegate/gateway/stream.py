"""Server-sent events on their way through: the model's public name goes in, the count of tokens is read off.

Source of the format: OpenAI's streaming chat completions, as vLLM sends them: lines `data: <JSON>` and `data: [DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = b"data:"


@dataclass
class Usage:
    """Tokens of one request, as the engine counted them."""

    prompt: int = 0
    completion: int = 0

    def read(self, document: Mapping[str, Any]) -> None:
        """Take over the `usage` of an answer or of an event, where there is one."""
        usage = document.get("usage")
        if isinstance(usage, Mapping):
            self.prompt = int(usage.get("prompt_tokens") or 0)
            self.completion = int(usage.get("completion_tokens") or 0)


@dataclass
class EventRewriter:
    """Rewrites a stream piece by piece. Without ``wants_usage`` the event that only counts tokens is taken out."""

    public: str
    served: str
    wants_usage: bool
    usage: Usage = field(default_factory=Usage)
    _rest: bytes = b""
    _swallow_blank: bool = False

    def feed(self, piece: bytes) -> bytes:
        """Return what can be sent on after ``piece``; an unfinished line waits for the next call."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return b"".join(self._line(line) for line in lines)

    def close(self) -> bytes:
        """Return what is left when the stream ends without a line feed."""
        rest, self._rest = self._rest, b""
        return self._line(rest).removesuffix(b"\n") if rest else b""

    def _line(self, line: bytes) -> bytes:
        if not line.strip():
            blank, self._swallow_blank = not self._swallow_blank, False
            return b"\n" if blank else b""
        if not line.startswith(PREFIX):
            return line + b"\n"
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


@dataclass(frozen=True)
class Rewritten:
    """An answer as the client gets it, and the tokens that it cost."""

    body: bytes
    usage: Usage


def rewrite_answer(raw: bytes, served: str, public: str) -> Rewritten | None:
    """Return an answer under the public name; None when it is no JSON object."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    usage = Usage()
    usage.read(document)
    return Rewritten(json.dumps(renamed(document, served, public)).encode(), usage)


def renamed(document: dict[str, Any], served: str, public: str) -> dict[str, Any]:
    """Return an answer with the public name for the served one: in `model`, and in the text of an error."""
    result = dict(document)
    if "model" in result:
        result["model"] = public
    error = result.get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        result["error"] = {**error, "message": error["message"].replace(served, public)}
    return result
