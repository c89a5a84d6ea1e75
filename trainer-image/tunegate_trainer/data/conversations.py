"""Conversations as tokens, with the loss on what the assistant says and on the token that ends its turn.

Chat templates seldom mark what the assistant generates. So the text up to an assistant turn is rendered with the
generation prompt, which is what the engine sees at serving time, and compared with the rendering that holds the turn:
what comes on top is the turn. Rejected: TRL's `assistant_only_loss`, which swaps in another template for known model
families and gives up on the rest, SmolLM2 among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.api.datachecks import DataCheck
from tunegate_trainer.data.forms import Turn
from tunegate_trainer.data.rows import Row
from tunegate_trainer.endings import BadInput

IGNORED = -100
"""Label of tokens without loss (PyTorch's cross-entropy skips it)."""


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
        from transformers import AutoTokenizer, GenerationConfig

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise BadInput(f"base model: the tokenizer cannot be loaded ({type(error).__name__})") from error
        if not isinstance(self.tokenizer.chat_template, str):
            raise BadInput("base model: no single chat template")
        self.stop_ids = {int(self.tokenizer.eos_token_id)} if self.tokenizer.eos_token_id is not None else set()
        if (folder / "generation_config.json").exists():
            named = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
            self.stop_ids |= set(named) if isinstance(named, list) else {named} if named is not None else set()
        self._special = control_tokens(self.tokenizer)

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
        return len(self._tokens(self.render(question.prompt, question.tools, open_turn=True)))

    def encode(self, row: Row) -> Encoded:
        """Return tokens and labels of a conversation. Raises ``ConversationProblem``."""
        if any(mark in text for text in row.texts for mark in self._special):
            raise ControlTokens("contains a control token of the chat template")
        whole = self.render(row.messages, row.tools, open_turn=False)
        if not all(name in whole for name in _function_names(row)):
            raise ConversationProblem("the chat template does not show the tools or their calls")
        input_ids: list[int] = []
        labels: list[int] = []
        position = 0
        for start, end in self._assistant_spans(row, whole):
            before = self._tokens(whole[position:start])
            turn = self._tokens(whole[start:end])
            kept = self._end_of_turn(turn)
            input_ids += before + turn
            labels += [IGNORED] * len(before) + turn[:kept] + [IGNORED] * (len(turn) - kept)
            position = end
        rest = self._tokens(whole[position:])
        return Encoded(input_ids + rest, labels + [IGNORED] * len(rest))

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

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _end_of_turn(self, turn: Sequence[int]) -> int:
        """Return how many tokens of a turn are the model's to say: up to and with the last one that stops the engine."""
        last = max((index for index, token in enumerate(turn) if token in self.stop_ids), default=-1)
        if last < 0:
            raise ConversationProblem("the template ends the turn with no token at which the engine stops")
        return last + 1


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
