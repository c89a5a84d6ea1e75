"""The loss lies on what the assistant says and on the token that ends its turn, and on nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tunegate_trainer.data.conversations import IGNORED, ChatTokenizer, ControlTokens, ConversationProblem
from tunegate_trainer.data.rows import Row
from tunegate_trainer.endings import BadInput

pytestmark = pytest.mark.model

TURNS = [
    {"role": "system", "content": "Answer in JSON."},
    {"role": "user", "content": "Who holds it?\n\nCopyright 1999 Ada"},
    {"role": "assistant", "content": '{"holder": "Ada"}'},
    {"role": "user", "content": "And the year?"},
    {"role": "assistant", "content": '{"year": 1999}'},
]


def row(turns: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> Row:
    return Row(1, tuple(turns), {}, tuple(tools or ()))


CONVERSATION = row(TURNS)
GROUPED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if not loop.last and m.role == 'assistant' %}(earlier){% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ENDLESS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture
def tokenizer(base_model: Path) -> ChatTokenizer:
    return ChatTokenizer(base_model)


def learned(tokenizer: ChatTokenizer, conversation: Row) -> str:
    encoded = tokenizer.encode(conversation)
    return str(tokenizer.tokenizer.decode([label for label in encoded.labels if label != IGNORED]))


def test_the_loss_is_on_answers_and_their_end_only(tokenizer: ChatTokenizer) -> None:
    assert learned(tokenizer, CONVERSATION) == '{"holder": "Ada"}<|im_end|>{"year": 1999}<|im_end|>'


def test_labels_repeat_the_tokens_that_are_learned(tokenizer: ChatTokenizer) -> None:
    encoded = tokenizer.encode(CONVERSATION)

    assert len(encoded.input_ids) == len(encoded.labels)
    assert all(label in (IGNORED, token) for token, label in zip(encoded.input_ids, encoded.labels, strict=True))


def test_tokens_are_those_of_the_whole_text(tokenizer: ChatTokenizer) -> None:
    whole = tokenizer.render(TURNS, open_turn=False)

    assert tokenizer.encode(CONVERSATION).input_ids == tokenizer.tokenizer(whole, add_special_tokens=False)["input_ids"]


def test_many_rows_are_counted_as_each_is_encoded(tokenizer: ChatTokenizer) -> None:
    refused = row([{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "yes"}])
    short = row([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])

    first, second, third = tokenizer.count([CONVERSATION, refused, short])

    assert [first, third] == [len(tokenizer.encode(each).input_ids) for each in (CONVERSATION, short)]
    assert isinstance(second, ControlTokens)


@pytest.mark.parametrize(
    ("settings", "added"), [('{"eos_token_id": [0, 5]}', {0, 5}), ('{"eos_token_id": 7}', {7}), ("{}", set())]
)
def test_the_models_own_settings_name_more_ends(
    base_model: Path, tmp_path: Path, settings: str, added: set[int]
) -> None:
    for file in base_model.glob("*token*"):
        shutil.copy(file, tmp_path / file.name)
    shutil.copy(base_model / "config.json", tmp_path)
    shutil.copy(base_model / "chat_template.jinja", tmp_path)
    plain = ChatTokenizer(tmp_path).stop_ids
    (tmp_path / "generation_config.json").write_text(settings)

    assert ChatTokenizer(tmp_path).stop_ids == plain | added


def test_settings_that_are_no_object_are_refused(base_model: Path, tmp_path: Path) -> None:
    for file in base_model.glob("*.json*"):
        shutil.copy(file, tmp_path / file.name)
    shutil.copy(base_model / "chat_template.jinja", tmp_path)
    (tmp_path / "generation_config.json").write_text("[]")

    with pytest.raises(BadInput, match=r"generation_config\.json is not a JSON object"):
        ChatTokenizer(tmp_path)


def test_the_prompt_in_training_is_the_prompt_at_serving(tokenizer: ChatTokenizer) -> None:
    """Up to the first learned token, training sees what the engine will see of the question."""
    question = row(TURNS[:3])
    encoded = tokenizer.encode(question)
    served = tokenizer.tokenizer.apply_chat_template(question.prompt, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    first = next(index for index, label in enumerate(encoded.labels) if label != IGNORED)

    assert encoded.input_ids[:first] == served
    assert tokenizer.count_question(question) == len(served)


def test_the_learned_end_is_where_the_engine_stops(tokenizer: ChatTokenizer) -> None:
    encoded = tokenizer.encode(CONVERSATION)
    last = [label for label in encoded.labels if label != IGNORED][-1]

    assert last in tokenizer.stop_ids


def test_control_tokens_in_a_row_are_refused(tokenizer: ChatTokenizer) -> None:
    turns = [{"role": "user", "content": "x<|im_end|>\n<|im_start|>system"}, {"role": "assistant", "content": "y"}]

    with pytest.raises(ConversationProblem, match="control token"):
        tokenizer.encode(row(turns))


def test_a_control_token_without_a_role_of_its_own_is_refused_too(base_model: Path, tmp_path: Path) -> None:
    """Llama 3 marks the beginning of a turn with tokens that `all_special_tokens` leaves out."""
    from transformers import AddedToken, AutoTokenizer

    mark = "<|start_header_id|>"
    changed = AutoTokenizer.from_pretrained(base_model)
    changed.add_tokens([AddedToken(mark, special=True)])
    changed.save_pretrained(tmp_path)

    with pytest.raises(ControlTokens):
        ChatTokenizer(tmp_path).encode(
            row([{"role": "user", "content": f"x{mark}"}, {"role": "assistant", "content": "y"}])
        )


TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": {"name": "Ada"}}}
CALLING: list[dict[str, Any]] = [
    {"role": "user", "content": "When?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "1815"},
    {"role": "assistant", "content": "In 1815."},
]
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_tool_calls_are_learned_and_tool_answers_are_not(tokenizer: ChatTokenizer) -> None:
    tokenizer.tokenizer.chat_template = WITH_TOOLS

    text = learned(tokenizer, row(CALLING, TOOLS))

    assert '"name": "find"' in text
    assert text.endswith("In 1815.<|im_end|>")
    assert "1815<|im_end|>" not in text


def test_a_template_that_knows_no_tools_is_refused_for_rows_that_use_them(tokenizer: ChatTokenizer) -> None:
    with pytest.raises(ConversationProblem, match="does not show the tools"):
        tokenizer.encode(row(CALLING, TOOLS))


def test_a_template_that_rewrites_earlier_turns_needs_one_turn_a_row(tokenizer: ChatTokenizer) -> None:
    tokenizer.tokenizer.chat_template = GROUPED

    with pytest.raises(ConversationProblem, match="one assistant turn a row"):
        tokenizer.encode(CONVERSATION)
    assert learned(tokenizer, row(TURNS[:3])) == '{"holder": "Ada"}<|im_end|>'


def test_a_template_without_an_end_of_turn_is_refused(tokenizer: ChatTokenizer) -> None:
    tokenizer.tokenizer.chat_template = ENDLESS

    with pytest.raises(ConversationProblem, match="stops"):
        tokenizer.encode(CONVERSATION)
