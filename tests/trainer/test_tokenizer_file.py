"""Tokens counted by the tokenizer's own file are those that transformers counts: what plan says holds in the cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.test_tokenizer_kinds import ENDS_IN_SPACE, ONE, TEMPLATE, TWO, make_tokenizer
from tunegate_trainer.data import conversations
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.data.rows import Row
from tunegate_trainer.data.tokenizer_file import FileTokenizer

TOOL = {"type": "function", "function": {"name": "find_täg", "parameters": {"type": "object", "properties": {}}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "find_täg", "arguments": {"b": 1, "a": "<x>"}}}]}  # fmt: skip
WITH_TOOLS = Row(
    1,
    (
        {"role": "user", "content": "Who?"},
        CALL,
        {"role": "tool", "content": "Ilka"},
        {"role": "assistant", "content": "Ilka Sund"},
    ),
    {},
    tools=(TOOL,),
)
ASKS_FOR_ALL = (
    "{% if tools %}{{ tools | tojson(indent=2) }}\n{% endif %}{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'none' %}{% continue %}{% endif %}<|{{ m.role }}|>\n"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content }}</s>\n{% endgeneration %}{% else %}{{ m.content }}</s>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ADDED = {
    "__type": "AddedToken", "content": "<|pad|>", "lstrip": False, "rstrip": False, "normalized": False,
    "single_word": False, "special": True,
}  # fmt: skip
REFUSES = "{{ raise_exception('no') }}" + TEMPLATE


def by_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ChatTokenizer:
    with monkeypatch.context() as patch:
        patch.setattr(conversations, "_open", FileTokenizer)
        return ChatTokenizer(folder)


def said(tokenizer: ChatTokenizer, row: Row) -> Any:
    try:
        return tokenizer.encode(row)
    except ConversationProblem as problem:
        return str(problem)


@pytest.mark.parametrize("template", [TEMPLATE, ENDS_IN_SPACE, ASKS_FOR_ALL, REFUSES])
@pytest.mark.parametrize("byte_level", [False, True])
@pytest.mark.model
def test_tokens_and_refusals_are_those_of_transformers(
    template: str, byte_level: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"extra_special_tokens": ["<|own|>"], "pad_token": ADDED}
    folder = make_tokenizer(tmp_path / "model", template, byte_level=byte_level, **extra)
    (folder / "config.json").write_text('{"model_type": "llama", "eos_token_id": [2, 3]}')
    library, file = ChatTokenizer(folder), by_file(folder, monkeypatch)
    assert type(library.tokenizer) is not type(file.tokenizer)
    quoted = Row(1, ({"role": "user", "content": "a <|own|> b"}, {"role": "assistant", "content": "<|pad|>"}), {})
    for row in (ONE, TWO, WITH_TOOLS, quoted):
        assert said(file, row) == said(library, row)
    assert [*map(str, file.count([ONE, TWO]))] == [*map(str, library.count([ONE, TWO]))]
    assert file.stop_ids == library.stop_ids
    assert file._special == library._special
    assert file.template_digest == library.template_digest


@pytest.mark.model
def test_rows_of_the_small_real_model_have_the_tokens_of_transformers(
    base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, file = ChatTokenizer(base_model), by_file(base_model, monkeypatch)
    texts = (
        "Copyright 2019 \u2013 \xdcn\xefcode \u202e Ltd.\r\n\t  {}",
        "12345 67.89",
        "def f(x):\n    return x",
        "\u65e5\u672c\u8a9e \U0001f642",
    )
    rows = [
        Row(1, ({"role": "user", "content": text}, {"role": "assistant", "content": text * 3}), {}) for text in texts
    ]
    for row in (*rows, ONE, TWO):
        assert said(file, row) == said(library, row)
        assert file.count_question(row) == library.count_question(row)
    assert file.rebuilt_by_class is None


def test_a_class_that_makes_parts_again_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers", reason="in the environment of the stages and of plan")
    folder = make_tokenizer(tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "Qwen2Tokenizer"}))
    assert by_file(folder, monkeypatch).rebuilt_by_class == "Qwen2Tokenizer"
