"""The forms in which training rows are written, turned into the one that everything else works on: a list of messages.

The first readable row decides; a later row of another form is broken. Sources of the forms: OpenAI's chat format
(`messages`), TRL's prompt-completion and preference formats, Stanford Alpaca, and ShareGPT as FastChat reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunegate_trainer.data.strict_json import NotJson, parse_json
from tunegate_trainer.data.turns import Misfit, text_of, without_masks, without_nulls

Form = Literal["Messages", "PromptCompletion", "Alpaca", "ShareGPT", "Preference"]
NOT_SHOWN = ("chat_template_kwargs", "functions", "image", "images", "audio", "audios", "video", "videos")
"""Fields that other trainers show the model, and that would be left out here without a word."""


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


def convert(form: Form, value: Mapping[str, Any]) -> Converted:
    """Return the row as messages. Raises ``Misfit``."""
    found = detect(value)
    if found != form:
        raise Misfit(f"no {' and '.join(NEEDED[form])}" if found is None else f"{found} among rows of form {form}")
    fields = without_nulls(value)
    if fields.get("label") is False:
        raise Misfit(
            "label is false, which marks an answer as bad, and every answer is learned: remove the row, or rename the field "
            "if it says something else"
        )
    for name in NOT_SHOWN:
        if fields.get(name):
            raise Misfit(f"the field {name}: nothing of it would be trained on; only text and tools are")
    system = _system(fields)
    messages = _READERS[form](fields)
    if fields.get("history"):
        raise Misfit(f"history, which is read in rows of form Alpaca only: put earlier turns into {NEEDED[form][0]}")
    return Converted(_under(system, messages), _tools(fields.pop("tools", None)), fields)


def _system(fields: dict[str, Any]) -> str:
    """Take the instruction that stands beside the turns; empty: there is none."""
    system = text_of(fields.pop("system", ""))
    if system is None:
        raise Misfit("system is not text")
    return system if system.strip() else ""


def _under(system: str, messages: Sequence[Any]) -> Sequence[Any]:
    """Return the turns under an instruction, which the first of them may repeat."""
    first = messages[0] if messages else None
    if not system:
        return messages
    if not isinstance(first, dict) or first.get("role") != "system":
        return [{"role": "system", "content": system}, *messages]
    if text_of(first.get("content")) != system:
        raise Misfit("two instructions: the field system and a system turn that says something else")
    return messages


def _tools(tools: Any) -> Any:
    """Return the tools as a list of objects: each, or all of them, may be written as JSON text, as Parquet needs it."""
    try:
        decoded = parse_json(tools) if isinstance(tools, str) else tools
        listed = [parse_json(tool) if isinstance(tool, str) else tool for tool in decoded or ()]
    except (NotJson, TypeError) as error:
        raise Misfit("tools is no list of objects, nor JSON text of one") from error
    if isinstance(decoded, dict) or not all(isinstance(tool, dict) for tool in listed):
        raise Misfit("tools is no list of objects, nor JSON text of one")
    if any(not isinstance(tool.get("function", {}), dict) for tool in listed):
        raise Misfit("a tool whose function is no object")
    return listed


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
    texts = {name: fields.pop(name, "") for name in ("instruction", "input", "output")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise Misfit(f"{name} is not text")
    question = "\n\n".join(text for text in (texts["instruction"], texts["input"]) if text.strip())
    return [*_earlier(fields.pop("history", None)), *_exchange(question, texts["output"])]


def _earlier(history: Any) -> Sequence[Any]:
    """Return the turns of LLaMA-Factory's `history`: pairs of question and answer."""
    pairs = history or []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise Misfit("history is no list of pairs of question and answer")
    return [turn for question, answer in pairs for turn in _exchange(question, answer)]


def _exchange(question: Any, answer: Any) -> Sequence[Any]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


_SHAREGPT_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "model": "assistant",
}  # fmt: skip


def _sharegpt(fields: dict[str, Any]) -> Sequence[Any]:
    turns = fields.pop("conversations")
    if not isinstance(turns, list) or not turns:
        raise Misfit("no conversations")
    return list(map(_sharegpt_turn, turns))


def _sharegpt_turn(raw: Any) -> Mapping[str, Any]:
    if isinstance(raw, dict) and "role" in raw and "from" not in raw:
        return raw  # read with the turns of all forms
    turn = without_masks(without_nulls(raw)) if isinstance(raw, dict) else {}
    # As a text: what is no text may not even be looked up.
    if str(turn.get("from")) not in _SHAREGPT_ROLES:
        raise Misfit("a turn of conversations whose `from` is none of " + ", ".join(_SHAREGPT_ROLES))
    if turn.keys() - {"from", "value"}:
        raise Misfit("a turn of conversations with other fields than from, value")
    return {"role": _SHAREGPT_ROLES[turn["from"]], "content": turn.get("value")}


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
