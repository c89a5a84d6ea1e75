"""The turns of a conversation: read as the engine reads them, and refused where training could not mean what they say.

The engine joins text parts, reads a call's arguments out of their text and drops an empty list of calls before it renders a
conversation (vLLM 0.32, ``renderers/chat_utils.py``). What is trained on has to be the text that is served.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate_trainer.data.strict_json import NotJson, parse_json

Turn = Mapping[str, Any]
FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id", "name"},
}
"""The fields that a turn of each role may have."""
MAX_TURNS = 1000
"""Of a row. Each answer is compared with all turns before it, so that the work grows with the square of their number."""
TOOL_NAMES = ("name", "tool_call_id")
MASKS = ("weight", "loss", "train", "train_on_turn")
"""Fields by which trainers mark turns that are to be learned, or not."""
_NEXT = {
    "": {"system", "user"},
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user"},
    "assistant that calls": {"tool"},
    "tool": {"tool", "assistant"},
}
"""Which role may follow: a conversation begins after the empty one, and an assistant's calls are answered by tools."""


class Misfit(Exception):
    """A row that cannot be turned into a conversation. The text is a kind of problem, never the row's own."""


def without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row or turn that are not null: null and absent are the same, as in Parquet.

    Not at every depth: in a tool's schema, null may be what is meant.
    """
    return {name: inner for name, inner in value.items() if inner is not None}


def read_turns(messages: Sequence[Any]) -> tuple[Turn, ...]:
    """Return the turns with text as content and objects as arguments. Raises ``Misfit``, also for turns out of order."""
    if len(messages) > MAX_TURNS:
        raise Misfit(f"more than {MAX_TURNS} turns: split the conversation into several rows")
    turns = tuple(map(_turn, messages))
    before = ""
    for turn in turns:
        if turn["role"] not in _NEXT[before]:
            raise Misfit("roles do not alternate")
        before = "assistant that calls" if turn.get("tool_calls") else turn["role"]
    if not before.startswith("assistant"):
        raise Misfit("the last message is not the assistant's")
    return turns


def without_masks(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn without the marks that it is learned as every turn is. Raises ``Misfit`` for a turn that is not to be."""
    for name in MASKS:
        if name in turn and turn[name] is not True and not _is_one(turn[name]):
            raise Misfit(
                f"a turn with another {name} than 1 or true: every assistant turn is learned with equal weight; end the "
                "conversation before a turn that is not to be learned"
            )
    return {name: value for name, value in turn.items() if name not in MASKS}


def _is_one(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 1


def text_of(content: Any) -> str | None:
    """Return content that is text, or a list of text parts, as one text; None for anything else.

    Parts are joined by line breaks, as the engine does for templates that take text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    parts = [without_nulls(part) if isinstance(part, dict) else {} for part in content]
    if any(part.keys() != {"type", "text"} or part["type"] != "text" for part in parts):
        return None
    texts = [part["text"] for part in parts]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else None


def turn_text(turn: Turn) -> str:
    """Return everything that a turn says: content, a tool's name and the id that it answers, and calls as JSON."""
    calls = turn.get("tool_calls")
    named = [turn[name] for name in TOOL_NAMES if turn.get(name)]
    return "\n".join([turn["content"], *named, *([written(calls)] if calls else [])])


def written(value: Any) -> str:
    """Return a value as JSON text. Raises ``TypeError`` or ``ValueError`` for what JSON cannot hold."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def function_names(tools: Sequence[Turn], messages: Sequence[Turn]) -> set[str]:
    """Return the names that a template must show when it knows tools at all."""
    functions = [each.get("function", each) for each in (*tools, *_calls_of(messages))]
    return {str(function["name"]) for function in functions if "name" in function}


def _calls_of(messages: Sequence[Turn]) -> Iterator[Turn]:
    for turn in messages:
        yield from turn.get("tool_calls") or ()


def _turn(raw: Any) -> Turn:
    if not isinstance(raw, dict):
        raise Misfit("a message that is no object with role and content")
    turn = without_masks(without_nulls(raw))
    role = str(turn.get("role"))
    if role not in FIELDS:
        raise Misfit(f"unknown role: allowed are {', '.join(FIELDS)}")
    if turn.keys() - FIELDS[role]:
        raise Misfit(f"a message of role {role} with other fields than {', '.join(sorted(FIELDS[role]))}")
    if any(not isinstance(turn[name], str) for name in TOOL_NAMES if name in turn):
        raise Misfit("a tool's turn whose name or tool_call_id is not text")
    calls = _calls(turn.pop("tool_calls", None))
    content = text_of(turn.get("content", "" if calls else None))
    if content is None:
        raise Misfit("a message without text content: allowed are text and a list of text parts")
    if not content.strip() and not calls:
        raise Misfit("empty message")
    if "\0" in content:
        raise Misfit("a NUL character")
    return {**turn, "content": content, **({"tool_calls": calls} if calls else {})}


def _calls(calls: Any) -> list[Turn]:
    """Return the calls of a turn; an empty list is none."""
    if calls is None:
        return []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise Misfit("tool_calls is no list of functions with name and arguments")
    return list(map(_call, calls))


def _call(call: Turn) -> Turn:
    function = call.get("function")
    if call.get("type", "function") != "function":
        raise Misfit("a call of another type than function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Misfit("tool_calls is no list of functions with name and arguments")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments)
        except NotJson as error:
            raise Misfit(f"the arguments of a call are no JSON object ({error})") from error
    if not isinstance(arguments, dict):
        raise Misfit("the arguments of a call are no JSON object")
    return {**call, "function": {**function, "arguments": arguments}}
