"""Tokenizers and templates of other kinds than the demo's model has: the tokens are what the engine makes of the whole text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunegate_trainer.data import conversations
from tunegate_trainer.data.conversations import IGNORED, ChatTokenizer, ConversationProblem
from tunegate_trainer.data.rows import Row
from tunegate_trainer.endings import BadInput

pytestmark = pytest.mark.model
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ENDS_IN_SPACE = TEMPLATE.replace("|>\n", "|>: ")
"""A byte-level tokenizer joins the space with the first word of the answer."""
THINKS = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|>{{ m.content }}</s>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
USER, ASSISTANT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ilka Sund"}
ONE = Row(1, (USER, ASSISTANT), {})
TWO = Row(1, (USER, ASSISTANT, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes"}), {})
SPACE_BEFORE: dict[str, Any] = {
    "type": "Sequence",
    "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
}  # fmt: skip
"""As Llama 2, Mistral and Gemma 1 have it."""
BYTES: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def make_tokenizer(folder: Path, template: str = TEMPLATE, *, byte_level: bool = False, **settings: Any) -> Path:
    """Write a tokenizer of single characters and the words that the rows need."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder.mkdir(exist_ok=True)
    letters = sorted(ByteLevel.alphabet()) if byte_level else [chr(code) for code in (10, *range(32, 127))]
    space = "Ġ" if byte_level else "▁"
    merges = [["I", "l"], ["k", "a"], ["Il", "ka"], [space, "Ilka"]]
    pieces = ["<unk>", "<s>", "</s>", "<|eot|>", *letters, *([] if byte_level else [space])]
    pieces += ["".join(pair) for pair in merges]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    document = {
        "version": "1.0", "truncation": None, "padding": None, "post_processor": None,
        "added_tokens": [{"id": vocabulary[name], "content": name, **special} for name in ("<s>", "</s>", "<|eot|>")],
        "normalizer": None if byte_level else SPACE_BEFORE,
        "pre_tokenizer": BYTES if byte_level else None,
        "decoder": BYTES if byte_level else {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": merges},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(document))
    names = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>",
        "bos_token": "<s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "chat_template": template, **settings}))
    return folder


def learned(tokenizer: ChatTokenizer, row: Row) -> list[str]:
    labels = [label for label in tokenizer.encode(row).labels if label != IGNORED]
    return list(tokenizer.tokenizer.convert_ids_to_tokens(labels))


@pytest.mark.parametrize("byte_level", [False, True])
@pytest.mark.parametrize("row", [ONE, TWO])
def test_tokens_are_those_of_the_whole_text_and_begin_where_the_engine_generates(
    tmp_path: Path, row: Row, byte_level: bool
) -> None:
    tokenizer = ChatTokenizer(make_tokenizer(tmp_path / "model", byte_level=byte_level))
    whole, prompt = (
        tokenizer.tokenizer(tokenizer.render(turns, open_turn=open_turn), add_special_tokens=False)["input_ids"]
        for turns, open_turn in ((row.messages, False), (row.prompt, True))
    )

    encoded = tokenizer.encode(row)

    assert encoded.input_ids == whole
    assert encoded.input_ids[: len(prompt)] == prompt
    answer = whole[len(prompt) :]
    end = answer.index(tokenizer.tokenizer.eos_token_id) + 1
    assert [label for label in encoded.labels[len(prompt) :] if label != IGNORED] == answer[:end]
    assert learned(tokenizer, ONE) == ["Ilka", "Ġ" if byte_level else "▁", "S", "u", "n", "d", "</s>"]
    assert tokenizer.count([row, row]) == [len(whole), len(whole)]


class Counting(ChatTokenizer):
    """Counts the characters that are tokenized."""

    characters = 0

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        self.characters += sum(map(len, texts))
        return super()._encoded(texts)


def test_a_conversation_costs_what_its_length_says_however_many_turns_it_has(tmp_path: Path) -> None:
    tokenizer = Counting(make_tokenizer(tmp_path / "model", byte_level=True))
    row = Row(1, (USER, ASSISTANT) * 100, {})
    whole = tokenizer.render(row.messages, open_turn=False)

    (count,) = tokenizer.count([row])

    assert tokenizer.characters == 2 * len(whole)
    assert count == len(tokenizer.tokenizer(whole, add_special_tokens=False)["input_ids"])
    assert learned(tokenizer, row) == learned(tokenizer, ONE) * 100


@pytest.mark.parametrize("byte_level", [False, True])
def test_the_work_for_the_prompts_of_a_row_is_bounded(
    tmp_path: Path, byte_level: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Counting(make_tokenizer(tmp_path / "model", byte_level=byte_level))
    row = Row(1, (USER, ASSISTANT) * 100, {})
    (sound,) = tokenizer.count([row])
    assert isinstance(sound, int)
    tokenizer.characters = 0
    monkeypatch.setattr(conversations, "MAX_PROMPT_CHARACTERS", 50_000)

    (found,) = tokenizer.count([row])

    assert "more than 50000 characters together" in str(found)
    assert tokenizer.characters == 0


def test_an_answer_that_a_prompt_is_joined_with_is_cut_where_the_engine_generates(tmp_path: Path) -> None:
    """The whole text has one token for the prompt's last space and the answer's first word; the engine never writes it."""
    tokenizer = ChatTokenizer(make_tokenizer(tmp_path / "model", ENDS_IN_SPACE, byte_level=True))
    prompt = tokenizer.tokenizer(tokenizer.render(ONE.prompt, open_turn=True), add_special_tokens=False)["input_ids"]

    encoded = tokenizer.encode(ONE)

    assert learned(tokenizer, ONE)[:2] == ["Ilka", "Ġ"]
    assert encoded.input_ids[: len(prompt)] == prompt
    assert tokenizer.tokenizer.decode(encoded.input_ids) == tokenizer.render(ONE.messages, open_turn=False)


def test_an_answer_that_cannot_be_cut_from_its_prompt_is_refused(tmp_path: Path) -> None:
    tokenizer = ChatTokenizer(make_tokenizer(tmp_path / "model", ENDS_IN_SPACE))

    with pytest.raises(ConversationProblem, match="joins the beginning of an answer with the prompt"):
        tokenizer.encode(ONE)


@pytest.mark.parametrize("row", [ONE, TWO])
def test_a_template_whose_generation_prompt_is_no_prefix_is_refused_for_that(tmp_path: Path, row: Row) -> None:
    tokenizer = ChatTokenizer(make_tokenizer(tmp_path / "model", THINKS))

    with pytest.raises(ConversationProblem, match="its generation prompt is no prefix of the turn"):
        tokenizer.encode(row)


def test_an_answer_ends_with_the_first_token_at_which_the_engine_stops(tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", TEMPLATE.replace("</s>", "<|eot|></s>"))
    assert learned(ChatTokenizer(folder), ONE)[-2:] == ["<|eot|>", "</s>"]

    (folder / "config.json").write_text('{"model_type": "llama", "eos_token_id": [2, 3]}')

    assert learned(ChatTokenizer(folder), ONE)[-2:] == ["d", "<|eot|>"]


def test_an_earlier_answer_without_an_end_is_refused_though_a_later_one_has_one(tmp_path: Path) -> None:
    template = TEMPLATE.replace("</s>", "{% if loop.last %}</s>{% endif %}").replace("loop.last", "m.content == 'Yes'")
    tokenizer = ChatTokenizer(make_tokenizer(tmp_path / "model", template))

    with pytest.raises(ConversationProblem, match="no token at which the engine stops"):
        tokenizer.encode(TWO)


@pytest.mark.parametrize(
    ("files", "stops"),
    [
        ({"config.json": {"eos_token_id": [2, 3]}}, {2, 3}),
        ({"config.json": {"eos_token_id": 3}}, {2, 3}),
        ({"config.json": {"text_config": {"eos_token_id": 3}}}, {2, 3}),
        ({"config.json": {"eos_token_id": 3}, "generation_config.json": {}}, {2}),
        ({"config.json": {"eos_token_id": 3}, "generation_config.json": {"eos_token_id": [1]}}, {1, 2}),
        ({}, {2}),
    ],
)
def test_stop_tokens_are_those_of_the_generation_settings_or_else_of_the_configuration(
    tmp_path: Path, files: dict[str, Any], stops: set[int]
) -> None:
    folder = make_tokenizer(tmp_path / "model")
    for name, content in files.items():
        (folder / name).write_text(json.dumps({"model_type": "llama", **content}))

    assert ChatTokenizer(folder).stop_ids == stops


@pytest.mark.parametrize("named", ["x", [[1]], [None], True, 1.5, {}])
def test_stop_tokens_that_are_no_numbers_are_refused(tmp_path: Path, named: Any) -> None:
    folder = make_tokenizer(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": named}))

    with pytest.raises(BadInput, match=r"eos_token_id in config\.json is neither a token's number nor a list"):
        ChatTokenizer(folder)


def test_a_tokenizer_that_the_libraries_do_not_know_is_bad_input(tmp_path: Path) -> None:
    newer, extra = make_tokenizer(tmp_path / "newer"), make_tokenizer(tmp_path / "extra", extra_special_tokens="<x>")
    document = json.loads((newer / "tokenizer.json").read_text())
    (newer / "tokenizer.json").write_text(json.dumps({**document, "pre_tokenizer": {"type": "OfNextYear"}}))

    for folder in (newer, extra):
        with pytest.raises(BadInput, match="the tokenizer cannot be loaded"):
            ChatTokenizer(folder)
    shutil.rmtree(newer)
    with pytest.raises(BadInput, match="no chat template"):
        ChatTokenizer(newer)
