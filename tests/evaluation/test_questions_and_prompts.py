"""Frozen questions are checked before anybody is asked; examples come from the training split only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.suites import SCHEMA, suite_spec, write_rows
from tunegate.api.answers import of_lines
from tunegate.api.stage.configs import DatasetInput, SuiteInput
from tunegate.digests import document_digest
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation import answers
from tunegate_trainer.evaluation.arms import Author, asks_of, base_arm_names, tuned_asks
from tunegate_trainer.evaluation.engine import Reply
from tunegate_trainer.evaluation.metrics import metric_for
from tunegate_trainer.evaluation.prompts import choose_shots, describe, shrinking, shrinking_passages, similar_shots
from tunegate_trainer.evaluation.questions import Suite, Training, load_suite, load_training, shared_system_prompt
from tunegate_trainer.evaluation.retrieval import nearest_rows, nearest_texts

EXACT = metric_for("ExactMatch", suite_spec().task)
ROWS = [(f"question {n}", f"answer {n}", f"group {n // 3}") for n in range(60)]


def suite_input(path: Path, digest: str, **changes: object) -> SuiteInput:
    spec = suite_spec(data={"uri": "pvc://d/s.jsonl", "digest": digest, "groupField": "group"}, **changes)
    return SuiteInput(name="s", path=str(path), digest=document_digest(spec.to_dict()), spec=spec)


def training(tmp_path: Path, fraction: str = "0.2") -> Training:
    digest = write_rows(tmp_path / "train.jsonl", ROWS)
    dataset = DatasetInput(path=str(tmp_path / "train.jsonl"), digest=digest, group_field="group")
    return load_training(dataset, tmp_path, development_fraction=fraction, seed=17)


def suite(tmp_path: Path) -> Suite:
    digest = write_rows(tmp_path / "suite.jsonl", [("what?", "that", "a"), ("who?", "they", "b")])
    return load_suite(suite_input(tmp_path / "suite.jsonl", digest), tmp_path)


def test_suite_with_one_other_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    digest = write_rows(path, ROWS)
    assert len(load_suite(suite_input(path, digest), tmp_path).rows) == 60
    path.write_bytes(path.read_bytes().replace(b"answer 7", b"answer 8"))
    with pytest.raises(BadInput, match="digest"):
        load_suite(suite_input(path, digest), tmp_path)


def test_expected_answer_outside_the_labels_or_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    digest = write_rows(path, [("q", "yes", "a"), ("r", "perhaps", "b")])
    with pytest.raises(BadInput, match=r"row 2 is none of task\.labels"):
        load_suite(suite_input(path, digest, task={"type": "Classification", "labels": ["yes", "no"]}), tmp_path)
    with pytest.raises(BadInput, match="row 1 is not JSON"):
        load_suite(suite_input(path, digest, task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)}), tmp_path)


def test_broken_row_is_named_by_its_number_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, ROWS)
    path.write_text(path.read_text() + '{"messages": "secret words"}\n')
    with pytest.raises(BadInput, match="row 61") as caught:
        load_training(DatasetInput(path=str(path)), tmp_path, development_fraction="0.1", seed=1)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        (["Answer.", "Answer."], "Answer."), (["Answer.", "Explain."], None), (["Answer.", None], None), ([None, None], None),
        (["x" * 8192] * 2, "x" * 8192), (["x" * 8193] * 2, None),
    ],
)  # fmt: skip
def test_the_system_prompt_of_a_suite_is_that_of_all_its_questions(
    tmp_path: Path, prompts: list[str | None], shared: str | None
) -> None:
    questions = suite(tmp_path)
    rows = []
    for row, prompt in zip(questions.rows, prompts, strict=True):
        turns = tuple(turn for turn in row.messages if turn["role"] != "system")
        rows.append(replace(row, messages=({"role": "system", "content": prompt}, *turns) if prompt else turns))
    assert shared_system_prompt(replace(questions, rows=rows)) == shared


def test_development_rows_are_out_of_reach_of_the_alternatives(tmp_path: Path) -> None:
    kept = training(tmp_path)
    assert 0 < len(kept.rows) < 60
    left_out = {group for _, _, group in ROWS} - {group.removeprefix("group ") for group in kept.groups}
    assert left_out
    assert all(row.fields["group"] not in left_out for row in kept.rows)


def test_shots_are_the_same_every_time_and_of_different_groups(tmp_path: Path) -> None:
    kept = training(tmp_path)
    few_shot = suite_spec(fewShot={"shots": 5, "seed": 3}).few_shot
    shots = choose_shots(kept, few_shot)
    assert shots == choose_shots(Training(kept.rows[::-1], kept.groups[::-1], kept.digest), few_shot)
    assert len({row.fields["group"] for row in shots}) == 5
    assert shots != choose_shots(kept, suite_spec(fewShot={"shots": 5, "seed": 4}).few_shot)


@pytest.mark.model
def test_similar_shots_are_training_rows_with_the_nearest_beside_the_question(tmp_path: Path) -> None:
    kept = training(tmp_path)
    asked = kept.rows[-1]  # "question 5x": BM25 sees words of two characters and more
    shots = similar_shots([asked], kept.rows, 3)[0]
    assert len(shots) == 3
    assert shots[-1] == asked
    assert all(row in kept.rows for row in shots)
    assert len(similar_shots([asked], kept.rows[:2], 5)[0]) == 2


def test_arms_follow_the_suite_and_the_author() -> None:
    plain, guided = suite_spec(), suite_spec(task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)})
    both = suite_spec(baselines={"retrievedShots": True})
    mine = Author("Mine.", ["A passage."])
    assert base_arm_names(plain, Author()) == ["BasePlain", "BaseFewShot"]
    assert base_arm_names(both, mine) == [
        "BasePlain", "BaseFewShot", "BaseRetrievedShots", "BaseAuthorPrompt", "BaseRetrieval",
    ]  # fmt: skip
    assert base_arm_names(guided, mine)[-2:] == ["BaseAuthorPromptGuided", "BaseRetrievalGuided"]


@pytest.mark.parametrize(("decoding", "schema"), [("Free", None), ("Guided", SCHEMA)])
def test_the_tuned_model_is_asked_with_the_schema_where_the_suite_says_so(
    tmp_path: Path, decoding: str, schema: Any
) -> None:
    spec = suite_spec(task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA), "decoding": decoding})
    assert [ask.schema for ask in tuned_asks(suite(tmp_path), spec)] == [schema, schema]


def test_the_authors_prompt_takes_the_place_of_the_rows_own(tmp_path: Path) -> None:
    asks = asks_of("BaseAuthorPrompt", suite_spec(), suite(tmp_path), training(tmp_path), Author("Mine."))
    assert [dict(turn) for turn in asks[0].prompts[0]] == [
        {"role": "system", "content": "Mine."}, {"role": "user", "content": "what?"},
    ]  # fmt: skip


@pytest.mark.model
def test_each_question_is_asked_with_the_passages_that_share_words_with_it(tmp_path: Path) -> None:
    passages = ["What the oven needs.", "Bread rises overnight."]
    asks = asks_of("BaseRetrieval", suite_spec(), suite(tmp_path), training(tmp_path), Author(None, passages))
    assert [ask.prompts[0][-1]["content"] for ask in asks] == [
        "Documents:\n\nWhat the oven needs.\n\nQuestion:\n\nwhat?", "who?",
    ]  # fmt: skip
    assert asks[0].prompts[0][0] == {"role": "system", "content": "Answer."}
    other = asks_of("BaseRetrieval", suite_spec(), suite(tmp_path), training(tmp_path), Author("Mine.", passages))
    assert other[0].prompts[0][0] == {"role": "system", "content": "Mine."}


@pytest.mark.model
def test_texts_without_a_word_are_never_found(tmp_path: Path) -> None:
    questions = suite(tmp_path).rows
    assert nearest_texts(questions, ["- - -", "? !"], 3) == [[], []]
    assert nearest_texts(questions, ["- - -", "who asks"], 3) == [[], ["who asks"]]
    assert nearest_rows(questions, questions[1:], 3) == [[0], [0]]


def test_passages_stand_before_the_question_and_go_until_it_fits(tmp_path: Path) -> None:
    question = suite(tmp_path).rows[0]
    prompts = shrinking_passages(question, ["one two three four", "five"], "Look it up.")
    assert [prompt[-1]["content"].split("\n\n")[1:-2] for prompt in prompts] == [
        ["one two three four", "five"], ["one two three four"], ["one two t"], ["one "], [],
    ]  # fmt: skip
    assert [prompt[-1]["content"] for prompt in prompts][3:] == ["Documents:\n\none \n\nQuestion:\n\nwhat?", "what?"]
    assert {prompt[0]["content"] for prompt in prompts} == {"Look it up."}
    assert shrinking_passages(question, [], None) == [question.prompt]


def test_few_shot_prompt_has_the_instruction_once_and_the_question_last(tmp_path: Path) -> None:
    kept, question = training(tmp_path), suite(tmp_path).rows[0]
    prompts = shrinking(question, choose_shots(kept, suite_spec(fewShot={"shots": 3}).few_shot), "Do it well.")
    assert [len(prompt) for prompt in prompts] == [8, 6, 4, 2]
    assert [turn["role"] for turn in prompts[0]] == ["system", *["user", "assistant"] * 3, "user"]
    assert prompts[0][0]["content"] == "Do it well."
    assert prompts[0][-1]["content"] == "what?"
    assert shrinking(question, [], None)[0] == question.prompt


def test_description_of_the_prompt_quotes_no_row() -> None:
    few_shot = suite_spec(fewShot={"shots": 2, "systemPrompt": "Do it well."}).few_shot
    text = describe("BaseFewShot", few_shot, "My own.")
    assert "Do it well." in text
    assert "{question 2}" in text
    assert "{question 3}" not in text
    assert "{similar question 2}" in describe("BaseRetrievedShotsGuided", few_shot, None)
    assert describe("BaseAuthorPrompt", few_shot, "My own.") == "system: My own.\nuser: {question of the suite}"
    assert "Do it well." not in describe("BasePlain", few_shot, "My own.")
    retrieval = describe("BaseRetrieval", few_shot, "My own.")
    assert retrieval.startswith("system: My own.\nuser: Documents:\n\n{passage 1}")
    assert retrieval.endswith("{passage 3}\n\nQuestion:\n\n{question of the suite}")
    assert "Do it well." in describe("BaseRetrievalGuided", few_shot, None)


def test_kept_answers_come_back_for_the_same_questions_only(tmp_path: Path) -> None:
    questions = suite(tmp_path)
    given = {"BasePlain": [Reply("that", "stop"), Reply("ünd\n\u2028{\r", "length", shortened=True)]}
    document = answers.write(given, questions, EXACT)
    assert answers.read(document, questions) == given
    with pytest.raises(BadInput, match="do not belong"):
        answers.read(document, Suite(questions.rows[::-1], questions.groups, questions.digest))
    with pytest.raises(BadInput, match="judges by"):
        answers.read(document.replace(b"tunegate/1", b"tunegate/0"), questions)
    with pytest.raises(BadInput, match="of each arm"):
        answers.read(document.replace(b'"answers": {"BasePlain"', b'"answers": {"Regex"', 1), questions)
    with pytest.raises(BadInput, match="of this version"):
        answers.read(b'{"normalization": "tunegate/1", "questions": 2, "arms": []}\n', questions)


def test_each_answer_is_kept_beside_its_question_the_expected_one_and_its_score(tmp_path: Path) -> None:
    questions = suite(tmp_path)
    given = {"Tuned": [Reply("that", "stop"), Reply("nobody", "stop")], "Regex": [Reply("", "stop")] * 2}

    head, (first, second) = of_lines(answers.write(given, questions, EXACT))

    assert (head.metric, head.questions, head.arms) == ("ExactMatch", 2, ["Tuned", "Regex"])
    assert [turn["content"] for turn in first.asked] == ["Answer.", "what?"]
    assert (first.question, first.expected, second.expected) == (1, "that", "they")
    assert [one.answers["Tuned"].score for one in (first, second)] == [1, 0]
    assert [one.answers["Regex"].score for one in (first, second)] == [0, 0]
