"""Ways to hide a question of a suite in a training row: each makes the turns of a row of a question."""

from __future__ import annotations

import base64
import codecs
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Turns = Sequence[Mapping[str, Any]]
Verdict = Literal["blocked", "warned", "missed"]
ANSWER = "the answer"


@dataclass(frozen=True)
class Disguise:
    """One way, and what becomes of nearly all questions that go it."""

    name: str
    verdict: Verdict
    turns: Callable[[str], Turns]


def asked(text: str, answer: str = ANSWER) -> Turns:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]


def text(name: str, verdict: Verdict, change: Callable[[str], str]) -> Disguise:
    """Return a change of the question's text."""
    return Disguise(name, verdict, lambda question: asked(change(question)))


def each_word(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda question: " ".join(map(change, question.split()))


def inside(sign: str) -> Callable[[str], str]:
    """Put a sign into each word, after its first letter."""
    return each_word(lambda word: word[0] + sign + word[1:] if len(word) > 1 else word)


def shifted(capital: int, small: int) -> Callable[[str], str]:
    """Write letters of another block of Unicode, which begins there."""
    return lambda question: "".join(
        chr(ord(sign) - ord("A") + capital) if "A" <= sign <= "Z"
        else chr(ord(sign) - ord("a") + small) if "a" <= sign <= "z" else sign
        for sign in question
    )  # fmt: skip


def instead(table: Mapping[str, str]) -> Callable[[str], str]:
    return lambda question: question.translate({ord(sign): other for sign, other in table.items()})


def after_each(count: int) -> Callable[[str], str]:
    """Put a word after each so many."""

    def change(question: str) -> str:
        found = question.split()
        return " ".join(word + (" indeed" if at % count == 0 else "") for at, word in enumerate(found, 1))

    return change


def halves(question: str) -> tuple[str, str]:
    found = question.split()
    return " ".join(found[: len(found) // 2]), " ".join(found[len(found) // 2 :])


def two_turns(question: str) -> Turns:
    first, second = halves(question)
    return [*asked(first, "Go on."), *asked(second)]


def three_places(question: str) -> Turns:
    found = question.split()
    third = len(found) // 3
    system, user, assistant = found[:third], found[third : 2 * third], found[2 * third :]
    return [{"role": "system", "content": " ".join(system)}, *asked(" ".join(user), " ".join(assistant))]


def in_a_call(question: str) -> Turns:
    """Put the question into the arguments of a call, which are JSON in a text."""
    call = {"type": "function", "function": {"name": "search", "arguments": json.dumps({"query": question})}}
    return [
        {"role": "user", "content": "Look it up."}, {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "nothing"}, {"role": "assistant", "content": ANSWER},
    ]  # fmt: skip


def in_a_tool_turn(question: str) -> Turns:
    call = {"type": "function", "function": {"name": "search", "arguments": "{}"}}
    return [
        {"role": "user", "content": "Look it up."}, {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": question}, {"role": "assistant", "content": ANSWER},
    ]  # fmt: skip


def one_in_ten(question: str) -> str:
    found, chance = question.split(), random.Random(question)  # noqa: S311 - the same in every run
    for at in chance.sample(range(len(found)), max(1, round(len(found) / 10))):
        found[at] = "".join(chance.choices("bcdfghjklm", k=7))
    return " ".join(found)


def typing_errors(question: str) -> str:
    return "".join("q" if at % 40 == 39 and sign.isalpha() else sign for at, sign in enumerate(question))


SMALL_CAPITALS = dict(zip(
    "abcdefghijklmnopqrstuvwyz",
    "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\ua7af\u0280\ua731\u1d1b"
    "\u1d1c\u1d20\u1d21\u028f\u1d22",
    strict=True,
))  # fmt: skip
SIMILAR = {
    "a": "\u0430", "c": "\u0441", "e": "\u0435", "i": "\u0456", "o": "\u03bf", "p": "\u0440", "v": "\u03bd", "x": "\u0445",
    "y": "\u0443",
}  # fmt: skip
ACCENTED = {"a": "\u00e1", "e": "\u00e8", "l": "\u0142", "o": "\u00f8"}
LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}

KNOWN = (
    text("none", "blocked", str),
    text("upper case", "blocked", str.upper),
    text("full width", "blocked", lambda question: "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in question)),
    text("prefix", "blocked", lambda question: f"Notice: {question}"),
    text("suffix", "blocked", lambda question: f"{question} (end of notice)"),
    text("twice in a row", "blocked", lambda question: f"{question}\n{question}"),
    Disguise("in the system turn", "blocked", lambda question: [{"role": "system", "content": question}, *asked("Well?")]),
    Disguise("in the assistant's turn", "blocked", lambda question: asked("Say it.", question)),
    text("a dot in each word", "blocked", inside(".")),
    text("a combining dot (U+0323) in each word", "blocked", inside("\u0323")),
    text("U+034F in each word", "blocked", inside("\u034f")),
    text("U+200C in each word", "blocked", inside("\u200c")),
    text("U+200D in each word", "blocked", inside("\u200d")),
    text("zero-width space in each word", "blocked", inside("\u200b")),
    text("soft hyphen in each word", "blocked", inside("\u00ad")),
    text("variation selector in each word", "blocked", inside("\ufe01")),
    text("Cyrillic a and o", "blocked", instead({"a": "\u0430", "o": "\u043e"})),
    text("a word after each six", "blocked", after_each(6)),
    Disguise("cut into two user turns", "blocked", two_turns),
)  # fmt: skip
"""The ways that were found open; the first is none, for comparison."""

FURTHER = (
    Disguise("cut over system, user and assistant", "blocked", three_places),
    Disguise("in the arguments of a call", "blocked", in_a_call),
    Disguise("in a tool's turn", "blocked", in_a_tool_turn),
    text("letters of Cyrillic and Greek mixed", "blocked", instead(SIMILAR)),
    text("mathematical bold", "blocked", shifted(0x1D400, 0x1D41A)),
    text("circled", "blocked", shifted(0x24B6, 0x24D0)),
    text("white on black squares", "blocked", lambda question: shifted(0x1F170, 0)(question.upper())),
    text("small capitals", "blocked", lambda question: instead(SMALL_CAPITALS)(question.lower())),
    text("ligatures", "blocked", lambda question: question.replace("ff", "\ufb00").replace("fi", "\ufb01").replace("fl", "\ufb02")),
    text("accents", "blocked", instead(ACCENTED)),
    text("marks on every letter", "blocked", lambda question: "".join(f"{sign}\u0301\u0330" for sign in question)),
    text("digits for letters", "blocked", instead(LEET)),
    text("digits and signs for letters", "blocked", instead({"a": "@", "s": "$", "o": "0", "i": "!"})),
    text("spaces between letters", "blocked", lambda question: " ".join(question.replace(" ", ""))),
    text("no spaces", "blocked", lambda question: question.replace(" ", "")),
    text("one word a line", "blocked", lambda question: "\n".join(question.split())),
    text("quoted by >", "blocked", lambda question: "\n".join(f"> {part}" for part in halves(question))),
    text("markdown's emphasis", "blocked", each_word(lambda word: f"**{word}**")),
    text("an emoji between words", "blocked", lambda question: " \U0001f642 ".join(question.split())),
    text("entities of HTML", "blocked", lambda question: "".join(f"&#{ord(sign)};" for sign in question)),
    text("percent encoding", "blocked", lambda question: "".join(f"%{byte:02x}" for byte in question.encode())),
    text("escapes of JSON", "blocked", lambda question: "".join(f"\\u{ord(sign):04x}" for sign in question)),
    text("base64", "blocked", lambda question: base64.b64encode(question.encode()).decode()),
    text("hexadecimal", "blocked", lambda question: question.encode().hex()),
    text("tag characters", "blocked", lambda question: "Hi" + "".join(chr(0xE0000 + ord(sign)) for sign in question if " " <= sign <= "~")),
    text("a wrong letter in each forty", "blocked", typing_errors),
    text("a word after each two", "warned", after_each(2)),
    text("each word with a number", "warned", lambda question: " ".join(f"{at}. {word}" for at, word in enumerate(question.split(), 1))),
    text("words in reversed order", "warned", lambda question: " ".join(question.split()[::-1])),
    text("one word in ten replaced", "warned", one_in_ten),
    text("a letter in each word", "missed", inside("x")),
    text("letters in reversed order", "missed", lambda question: question[::-1]),
    text("rot13", "missed", lambda question: codecs.encode(question, "rot13")),
)  # fmt: skip
"""Others that are tried."""
