"""Conversations as tokens, with the loss on what the assistant says and on the token that ends its turn.

Chat templates seldom mark what the assistant generates. So the text up to an assistant turn is rendered with the
generation prompt, which is what the engine sees at serving time, and compared with the rendering that holds the turn:
what comes on top is the turn. Rejected: TRL's `assistant_only_loss`, which swaps in another template for known model
families and gives up on the rest, SmolLM2 among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.api.datachecks import DataCheck
from tunegate_trainer.data.forms import Turn
from tunegate_trainer.data.rows import Row
from tunegate_trainer.endings import BadInput

IGNORED = -100
"""Label of tokens without loss (PyTorch's cross-entropy skips it)."""
Piece = tuple[str, bool]
"""A part of a rendered text, and whether it is what the assistant says."""


class ConversationProblem(Exception):
    """A conversation that can't be trained on. The text is a kind of problem, never the conversation's own."""

    check: DataCheck = "Template"


class ControlTokens(ConversationProblem):
    """A text that would end its own turn or begin another: an injection."""

    check: DataCheck = "ControlTokens"


@dataclass(frozen=True)
class Encoded:
    """One row for the trainer; both lists have the same length."""

    input_ids: list[int]
    labels: list[int]


class ChatTokenizer:
    """The base model's tokenizer and chat template."""

    def __init__(self, folder: Path) -> None:
        """Raises ``BadInput`` when the folder has no usable tokenizer or no chat template."""
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise BadInput(f"base model: the tokenizer cannot be loaded ({type(error).__name__})") from error
        if not isinstance(self.tokenizer.chat_template, str):
            raise BadInput("base model: no single chat template")
        self.stop_ids = {int(self.tokenizer.eos_token_id)} if self.tokenizer.eos_token_id is not None else set()
        self.stop_ids |= _named_stops(folder / "generation_config.json")
        self._special = control_tokens(self.tokenizer)
        if self._backend is not None:
            # A tokenizer's file may ask for either; transformers lifts both with its first call.
            self._backend.no_truncation()
            self._backend.no_padding()

    @property
    def _backend(self) -> Any:
        """The tokenizer behind transformers' class; None where that does the work itself."""
        return getattr(self.tokenizer, "backend_tokenizer", None)

    @property
    def template_digest(self) -> str:
        """SHA-256 of the chat template's text."""
        return digests.sha256(self.tokenizer.chat_template.encode())

    def render(self, messages: Sequence[Turn], tools: Sequence[Turn] = (), *, open_turn: bool) -> str:
        """Return the template's text; ``open_turn`` adds the beginning of an assistant turn."""
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [dict(turn) for turn in messages],
                    tools=[dict(tool) for tool in tools] or None,
                    tokenize=False,
                    add_generation_prompt=open_turn,
                )
            )
        except Exception as error:  # templates raise jinja2 errors of many kinds, for a row they don't like
            raise ConversationProblem(f"the chat template refuses it ({type(error).__name__})") from error

    def count_question(self, question: Row) -> int:
        """Return the tokens of a row's prompt as the engine will see it."""
        return len(self._tokens([self.render(question.prompt, question.tools, open_turn=True)])[0])

    def count(self, rows: Sequence[Row]) -> list[int | ConversationProblem]:
        """Return the tokens of each row, or why ``encode`` refuses it: in one call of the tokenizer, which costs less."""
        cut = [self._pieces_or_problem(row) for row in rows]
        tokens = iter(self._tokens([text for pieces in cut if isinstance(pieces, list) for text, _ in pieces]))
        return [
            self._count(pieces, list(islice(tokens, len(pieces)))) if isinstance(pieces, list) else pieces
            for pieces in cut
        ]

    def encode(self, row: Row) -> Encoded:
        """Return tokens and labels of a conversation. Raises ``ConversationProblem``."""
        pieces = self._pieces(row)
        return self._labeled(pieces, self._tokens([text for text, _ in pieces]))

    def _count(self, pieces: Sequence[Piece], tokens: Sequence[list[int]]) -> int | ConversationProblem:
        try:
            for (_, said), found in zip(pieces, tokens, strict=True):
                if said:
                    self._end_of_turn(found)
        except ConversationProblem as problem:
            return problem
        return sum(map(len, tokens))

    def _pieces_or_problem(self, row: Row) -> list[Piece] | ConversationProblem:
        try:
            return self._pieces(row)
        except ConversationProblem as problem:
            return problem

    def _pieces(self, row: Row) -> list[Piece]:
        """Return the rendered text, cut where an assistant turn begins or ends. Raises ``ConversationProblem``."""
        if any(mark in text for text in row.texts for mark in self._special):
            raise ControlTokens("contains a control token of the chat template")
        whole = self.render(row.messages, row.tools, open_turn=False)
        if not all(name in whole for name in _function_names(row)):
            raise ConversationProblem("the chat template does not show the tools or their calls")
        pieces = []
        position = 0
        for start, end in self._assistant_spans(row, whole):
            pieces += [(whole[position:start], False), (whole[start:end], True)]
            position = end
        return [*pieces, (whole[position:], False)]

    def _labeled(self, pieces: Sequence[Piece], tokens: Sequence[list[int]]) -> Encoded:
        """Join the tokens of the pieces. Raises ``ConversationProblem``."""
        input_ids: list[int] = []
        labels: list[int] = []
        for (_, said), found in zip(pieces, tokens, strict=True):
            kept = self._end_of_turn(found) if said else 0
            input_ids += found
            labels += found[:kept] + [IGNORED] * (len(found) - kept)
        return Encoded(input_ids, labels)

    def _assistant_spans(self, row: Row, whole: str) -> list[tuple[int, int]]:
        """Return where each assistant turn begins and ends in the rendered text, its end-of-turn token included."""
        spans = []
        for index, turn in enumerate(row.messages):
            if turn["role"] != "assistant":
                continue
            before = self.render(row.messages[:index], row.tools, open_turn=True)
            last = index + 1 == len(row.messages)
            through = whole if last else self.render(row.messages[: index + 1], row.tools, open_turn=False)
            if not (through.startswith(before) and whole.startswith(through)):
                raise ConversationProblem("the chat template changes earlier turns: give one assistant turn a row")
            spans.append((len(before), len(through)))
        return spans

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        written = [text for text in texts if text]
        found = iter(self._encoded(written) if written else ())
        return [next(found) if text else [] for text in texts]

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        """Return the tokens of texts as the tokenizer's own call does, which takes twice the time to say where each lies."""
        backend = self._backend
        if backend is None:
            return [list(tokens) for tokens in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _end_of_turn(self, turn: Sequence[int]) -> int:
        """Return how many tokens of a turn are the model's to say: up to and with the last one that stops the engine."""
        for last in range(len(turn), 0, -1):
            if turn[last - 1] in self.stop_ids:
                return last
        raise ConversationProblem("the template ends the turn with no token at which the engine stops")


def _named_stops(file: Path) -> set[int]:
    """Return the tokens at which the model's own settings stop. Raises ``BadInput``.

    Not read by transformers, whose class for it loads PyTorch, which a process that looks at rows does not need.
    """
    try:
        settings = json.loads(file.read_bytes()) if file.exists() else {}
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise BadInput(f"base model: {file.name} is not a JSON object")
    named = settings.get("eos_token_id")
    return set(named if isinstance(named, list) else [] if named is None else [named])


def control_tokens(tokenizer: Any) -> set[str]:
    """Return the texts that the tokenizer turns into a token of its own and that steer the model.

    Not only `all_special_tokens`: those have a role such as "end of text". Llama 3 marks the beginning of a turn with
    tokens that have none and are special all the same. Short ones (a bare `▁`) are ordinary text.
    """
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return {text for text in (*tokenizer.all_special_tokens, *added) if len(text) > 2}


def _calls(messages: Sequence[Turn]) -> Iterator[Turn]:
    for turn in messages:
        yield from turn.get("tool_calls") or ()


def _function_names(row: Row) -> set[str]:
    """Return the names that a template must show when it knows tools at all."""
    functions = [each.get("function", each) for each in (*row.tools, *_calls(row.messages))]
    return {str(function["name"]) for function in functions if "name" in function}
