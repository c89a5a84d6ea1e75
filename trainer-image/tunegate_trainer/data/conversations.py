"""Conversations as tokens, with the loss on what the assistant says and on the token that ends its turn.

Chat templates seldom mark what the assistant generates. So the text up to an assistant turn is rendered with the
generation prompt, which is what the engine sees at serving time, and compared with the rendering that holds the turn:
what comes on top is the turn. Rejected: TRL's `assistant_only_loss`, which swaps in another template for known model
families and gives up on the rest, SmolLM2 among them.

Tokens are those of the whole text: a tokenizer of SentencePiece's kind puts a space before each text that it is given, so
parts that are tokenized by themselves have other tokens. An answer begins after the tokens of its prompt, which is where
the engine generates, and ends with the first token at which the engine stops.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import jinja2

from tunegate import digests
from tunegate.api.datachecks import DataCheck
from tunegate_trainer import base_settings
from tunegate_trainer.data.rows import Row
from tunegate_trainer.data.tokenizer_file import FileTokenizer
from tunegate_trainer.data.turns import Turn, function_names
from tunegate_trainer.endings import BadInput

IGNORED = -100
"""Label of tokens without loss (PyTorch's cross-entropy skips it)."""
NO_STOP = "the template ends the turn with no token at which the engine stops"
MAX_PROMPT_CHARACTERS = 1 << 26
"""Of all prompts of a row together, as they are rendered: each answer's holds all turns before it. A row of a thousand turns
with 128 characters each has as many; half of them are tokenized again where a tokenizer joins what lies beside each other."""
REFUSALS = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What a template raises for a row that it was not written for: its own errors, and Python's for operations on values."""


class ConversationProblem(Exception):
    """A conversation that can't be trained on. The text is a kind of problem, never the conversation's own."""

    check: DataCheck = "Template"


class ControlTokens(ConversationProblem):
    """A text that would end its own turn or begin another: an injection."""

    check: DataCheck = "ControlTokens"


@dataclass(frozen=True)
class Rendered:
    """The text of a row, and where in it each assistant turn begins and ends, the end of the turn included."""

    whole: str
    spans: list[tuple[int, int]]

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        """The whole, cut where a turn begins or ends; and whether a piece is an answer."""
        starts = {start for start, _ in self.spans}
        cuts = sorted({0, len(self.whole), *(at for span in self.spans for at in span)})
        return [(self.whole[start:end], start in starts) for start, end in pairwise(cuts)]


@dataclass(frozen=True)
class Encoded:
    """One row for the trainer; both lists have the same length."""

    input_ids: list[int]
    labels: list[int]


class ChatTokenizer:
    """The base model's tokenizer and chat template."""

    def __init__(self, folder: Path) -> None:
        """Raises ``BadInput`` when the folder has no usable tokenizer or no chat template."""
        base_settings.chat_template(folder)
        stops = base_settings.stop_tokens(folder)
        try:
            self.tokenizer: Any = _open(folder)
        except (MemoryError, ModuleNotFoundError):
            raise
        except Exception as error:  # the libraries raise whatever their parts do, the one in Rust a bare Exception
            raise BadInput(f"base model: the tokenizer cannot be loaded ({type(error).__name__})") from error
        own = self.tokenizer.eos_token_id
        self.stop_ids = stops if own is None else {int(own), *stops}
        self._special = re.compile("|".join(map(re.escape, sorted(control_tokens(self.tokenizer)))) or "(?!)")
        if self._backend is not None:
            # A tokenizer's file may ask for either; transformers lifts both with its first call.
            self._backend.no_truncation()
            self._backend.no_padding()

    @property
    def _backend(self) -> Any:
        """The tokenizer behind transformers' class; None where that does the work itself."""
        return getattr(self.tokenizer, "backend_tokenizer", None)

    @property
    def rebuilt_by_class(self) -> str | None:
        """The class by which the stages make parts of the tokenizer, when here its file was read as it stands."""
        found: str | None = getattr(self.tokenizer, "rebuilt_by_class", None)
        return found

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
        except REFUSALS as error:
            raise ConversationProblem(f"the chat template refuses it ({type(error).__name__})") from error

    def count_question(self, question: Row) -> int:
        """Return the tokens of a row's prompt as the engine will see it."""
        return len(self._tokens([self.render(question.prompt, question.tools, open_turn=True)])[0])

    def count(self, rows: Sequence[Row]) -> list[int | ConversationProblem]:
        """Return the tokens of each row, or why ``encode`` refuses it: in one call of the tokenizer, which costs less."""
        rendered = [self._rendered_or_problem(row) for row in rows]
        texts = [_texts(each) if isinstance(each, Rendered) else [] for each in rendered]
        tokens = iter(self._tokens(list(chain.from_iterable(texts))))
        return [
            self._count(each, list(islice(tokens, len(own)))) if isinstance(each, Rendered) else each
            for each, own in zip(rendered, texts, strict=True)
        ]

    def encode(self, row: Row) -> Encoded:
        """Return tokens and labels of a conversation. Raises ``ConversationProblem``."""
        rendered = self._rendered(row)
        return self._labeled(rendered, self._tokens(_texts(rendered)))

    def _count(self, rendered: Rendered, tokens: Sequence[list[int]]) -> int | ConversationProblem:
        try:
            return len(self._labeled(rendered, tokens).input_ids)
        except ConversationProblem as problem:
            return problem

    def _rendered_or_problem(self, row: Row) -> Rendered | ConversationProblem:
        try:
            return self._rendered(row)
        except ConversationProblem as problem:
            return problem

    def _rendered(self, row: Row) -> Rendered:
        """Return the row behind the chat template. Raises ``ConversationProblem``."""
        if any(map(self._special.search, row.texts)):
            raise ControlTokens("contains a control token of the chat template")
        whole = self.render(row.messages, row.tools, open_turn=False)
        if not all(name in whole for name in function_names(row.tools, row.messages)):
            raise ConversationProblem("the chat template does not show the tools or their calls")
        return Rendered(whole, list(self._assistant_spans(row, whole)))

    def _labeled(self, rendered: Rendered, tokens: Sequence[list[int]]) -> Encoded:
        """Return the tokens of the whole text with the labels of its answers; ``tokens``: of ``_texts(rendered)``.

        Most tokenizers make the same of the whole as of its pieces. Then nothing else is looked at, so that a conversation
        costs what its length says, however many turns it has. Raises ``ConversationProblem``.
        """
        whole, *pieces = tokens
        if list(chain.from_iterable(pieces)) == whole:
            return self._labeled_in_pieces(rendered, pieces)
        labels = [IGNORED] * len(whole)
        begin = 0
        for start, _ in rendered.spans:
            # One at a time: together they grow with the square of the number of turns.
            (prompt,) = self._tokens([rendered.whole[:start]])
            if whole[: len(prompt)] != prompt:
                return self._cut_from_prompts(rendered, pieces)
            begin = len(prompt)
            end = next((at for at in range(begin, len(whole)) if whole[at] in self.stop_ids), begin)
            labels[begin : end + 1] = whole[begin : end + 1]
        # A turn has an end of its own; otherwise the next one's would be taken for it.
        answers = [found for (_, said), found in zip(rendered.pieces, pieces, strict=True) if said]
        if not all(self._stops(answer) for answer in [*answers[:-1], whole[begin:]]):
            raise ConversationProblem(NO_STOP)
        return Encoded(whole, labels)

    def _cut_from_prompts(self, rendered: Rendered, pieces: Sequence[list[int]]) -> Encoded:
        """Return tokens cut where a turn begins or ends: those of the whole text join a prompt's end with the answer.

        The engine generates after the tokens of the prompt, so this is what it sees. Raises ``ConversationProblem`` for a
        tokenizer to which a part of a text means something else than the same part within the whole.
        """
        encoded = self._labeled_in_pieces(rendered, pieces)
        text = self.tokenizer.decode(encoded.input_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if text != rendered.whole:
            raise ConversationProblem(
                "the tokenizer joins the beginning of an answer with the prompt before it: begin answers with a letter or digit"
            )
        return encoded

    def _labeled_in_pieces(self, rendered: Rendered, pieces: Sequence[list[int]]) -> Encoded:
        """Join the tokens of the pieces, and label each answer to its end. Raises ``ConversationProblem``."""
        input_ids: list[int] = []
        labels: list[int] = []
        for (_, answer), tokens in zip(rendered.pieces, pieces, strict=True):
            said = 0
            if answer:
                if not self._stops(tokens):
                    raise ConversationProblem(NO_STOP)
                said = 1 + next(at for at, token in enumerate(tokens) if token in self.stop_ids)
            input_ids += tokens
            labels += tokens[:said] + [IGNORED] * (len(tokens) - said)
        return Encoded(input_ids, labels)

    def _stops(self, tokens: Sequence[int]) -> bool:
        return not self.stop_ids.isdisjoint(tokens)

    def _assistant_spans(self, row: Row, whole: str) -> Iterator[tuple[int, int]]:
        """Yield where each assistant turn begins and ends in the rendered text, its end-of-turn token included."""
        first, rendered = True, 0
        for index, turn in enumerate(row.messages):
            if turn["role"] != "assistant":
                continue
            before = self.render(row.messages[:index], row.tools, open_turn=True)
            last = index + 1 == len(row.messages)
            through = whole if last else self.render(row.messages[: index + 1], row.tools, open_turn=False)
            rendered += len(before)
            if rendered > MAX_PROMPT_CHARACTERS:
                raise ConversationProblem(
                    f"the prompts of its answers have more than {MAX_PROMPT_CHARACTERS} characters together: split the "
                    "conversation into several rows"
                )
            if first and not through.startswith(before):
                raise ConversationProblem(
                    "the chat template begins an answer in another way than it writes a finished one (its generation prompt is "
                    "no prefix of the turn): use a base model, or a template, that does not"
                )
            if not (through.startswith(before) and whole.startswith(through)):
                raise ConversationProblem("the chat template changes earlier turns: give one assistant turn a row")
            yield len(before), len(through)
            first = False

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


def _open(folder: Path) -> Any:
    """Return the tokenizer as the stages load it, or by its own files where transformers is not installed."""
    if find_spec("transformers") is None:
        return FileTokenizer(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _texts(rendered: Rendered) -> list[str]:
    """Return what is tokenized of a row: the whole, and its pieces."""
    return [rendered.whole, *(text for text, _ in rendered.pieces)]


def control_tokens(tokenizer: Any) -> set[str]:
    """Return the texts that the tokenizer turns into a token of its own and that steer the model.

    Not only `all_special_tokens`: those have a role such as "end of text". Llama 3 marks the beginning of a turn with
    tokens that have none and are special all the same. Short ones (a bare `▁`) are ordinary text.
    """
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return {text for text in (*tokenizer.all_special_tokens, *added) if len(text) > 2}
