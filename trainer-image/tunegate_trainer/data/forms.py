"""The forms in which training rows are written, turned into the one that everything else works on: a list of messages.

The first readable row decides; a later row of another form is broken. Sources of the forms: OpenAI's chat format
(`messages`), TRL's prompt-completion and preference formats, Stanford Alpaca, and ShareGPT as FastChat reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["Messages", "PromptCompletion", "Alpaca", "ShareGPT", "Preference"]
Turn = Mapping[str, Any]


class Misfit(Exception):
    """A row that cannot be turned into messages. The text is a kind of problem, never the row's own."""


@dataclass(frozen=True)
class Converted:
    """A row's messages, the tools offered to the model, and its other fields."""

    messages: Sequence[Any]
    tools: Any
    fields: Mapping[str, Any]


def detect(value: Mapping[str, Any]) -> Form | None:
    """Return the form of a row, by its fields that are not null; None when it is none of ours."""
    names = without_nulls(value).keys()
    if "messages" in names:
        return "Messages"
    if "conversations" in names:
        return "ShareGPT"
    if {"chosen", "rejected"} <= names:
        return "Preference"
    if {"instruction", "output"} <= names:
        return "Alpaca"
    if {"prompt", "completion"} <= names:
        return "PromptCompletion"
    return None


def without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row or turn that are not null: null and absent are the same, as in Parquet.

    Not at every depth: in a tool's schema, null may be what is meant.
    """
    return {name: inner for name, inner in value.items() if inner is not None}


def convert(form: Form, value: Mapping[str, Any]) -> Converted:
    """Return the row as messages. Raises ``Misfit``."""
    found = detect(value)
    if found != form:
        raise Misfit(f"no {' and '.join(NEEDED[form])}" if found is None else f"{found} among rows of form {form}")
    fields = without_nulls(value)
    messages = _READERS[form](fields)
    return Converted(messages, fields.pop("tools", None), fields)


def _messages(fields: dict[str, Any]) -> Sequence[Any]:
    messages = fields.pop("messages")
    if not isinstance(messages, list) or not messages:
        raise Misfit("no messages")
    return messages


def _prompt_completion(fields: dict[str, Any]) -> Sequence[Any]:
    return _joined(fields.pop("prompt"), fields.pop("completion"), "completion")


def _preference(fields: dict[str, Any]) -> Sequence[Any]:
    """Only the chosen answer is kept: supervised tuning has no use for the other.

    Without prompt, `chosen` holds it. In UltraFeedback there is a prompt and `chosen` holds it all the same.
    """
    chosen, rejected = fields.pop("chosen"), fields.pop("rejected")
    if chosen == rejected:
        raise Misfit("chosen and rejected are equal")
    prompt = fields.pop("prompt", None)
    if prompt is not None and not _begins_with_question(chosen):
        return _joined(prompt, chosen, "chosen")
    if not isinstance(chosen, list):
        raise Misfit("chosen is no list of messages and there is no prompt")
    return chosen


def _begins_with_question(answer: Any) -> bool:
    """Whether a list of messages begins before the assistant speaks. A later user turn says nothing: answers may go on."""
    first = answer[0] if isinstance(answer, list) and answer else None
    return isinstance(first, dict) and first.get("role") in ("system", "user")


def _joined(prompt: Any, answer: Any, name: str) -> Sequence[Any]:
    """Join prompt and answer, each a text or a list of messages."""
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if isinstance(answer, str):
        answer = [{"role": "assistant", "content": answer}]
    if not isinstance(prompt, list):
        raise Misfit("prompt is neither text nor a list of messages")
    if not isinstance(answer, list):
        raise Misfit(f"{name} is neither text nor a list of messages")
    return [*prompt, *answer]


def _alpaca(fields: dict[str, Any]) -> Sequence[Any]:
    texts = {name: fields.pop(name, "") for name in ("instruction", "input", "output", "system")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise Misfit(f"{name} is not text")
    question = "\n\n".join(text for text in (texts["instruction"], texts["input"]) if text.strip())
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": texts["output"]}]
    return [{"role": "system", "content": texts["system"]}, *messages] if texts["system"].strip() else messages


_SHAREGPT_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "model": "assistant",
}  # fmt: skip


def _sharegpt(fields: dict[str, Any]) -> Sequence[Any]:
    turns = fields.pop("conversations")
    if not isinstance(turns, list) or not turns:
        raise Misfit("no conversations")
    messages = []
    for turn in turns:
        # As a text: what is no text may not even be looked up.
        if not isinstance(turn, dict) or str(turn.get("from")) not in _SHAREGPT_ROLES:
            raise Misfit("a turn of conversations whose `from` is none of " + ", ".join(_SHAREGPT_ROLES))
        messages.append({"role": _SHAREGPT_ROLES[turn["from"]], "content": turn.get("value")})
    system = fields.pop("system", None)
    return [{"role": "system", "content": system}, *messages] if system else messages


_READERS: dict[Form, Callable[[dict[str, Any]], Sequence[Any]]] = {
    "Messages": _messages,
    "PromptCompletion": _prompt_completion,
    "Alpaca": _alpaca,
    "ShareGPT": _sharegpt,
    "Preference": _preference,
}
NEEDED: dict[Form, tuple[str, ...]] = {
    "Messages": ("messages",),
    "PromptCompletion": ("prompt", "completion"),
    "Alpaca": ("instruction", "output"),
    "ShareGPT": ("conversations",),
    "Preference": ("chosen", "rejected"),
}
