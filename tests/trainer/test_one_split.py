"""Validation, baseline and training split the same rows, whatever the greatest length leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stage_process import base_model_input, make_rows, stage_base, write_rows
from tests.support.validation import POOL, ROWS, Validate, example
from tunegate.api.finetunejob.spec import Method
from tunegate.api.stage.configs import DatasetInput, TrainConfig
from tunegate_trainer.data.conversations import ChatTokenizer
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.questions import load_training

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]


def training_config(data: Path, model: Path, **method: object) -> TrainConfig:
    settings = {"type": "LoRA", "maxLength": 64, "developmentFraction": "0.3", **method}
    return TrainConfig(
        **stage_base("127.0.0.1:1"), base_model=base_model_input(model), method=Method.model_validate(settings),
        dataset=DatasetInput(path=str(data), group_field="document"), pool=POOL,
    )  # fmt: skip


def test_no_development_row_is_an_example_of_the_baseline(base_model: Path, tmp_path: Path) -> None:
    from tunegate_trainer.training.worker import encode_rows

    rows = make_rows(24)
    for row in rows[::5]:
        row["messages"][0]["content"] += " word" * 100
    data = write_rows(tmp_path / "rows.jsonl", rows)
    tokenizer = ChatTokenizer(base_model)

    for seed in range(20):
        config = training_config(data, base_model, seed=seed)
        training, development = encode_rows(config, tokenizer)
        shown = load_training(config.dataset, tmp_path, development_fraction="0.3", seed=seed)
        examples = [tokenizer.encode(row).input_ids for row in shown.rows]

        assert development
        assert not [row for row in development if row.input_ids in examples]
        assert [row.input_ids for row in training] == [tokens for tokens in examples if len(tokens) <= 64]
        assert len(training) + len(development) == 19


def test_validation_counts_the_rows_that_training_sees(validate: Validate, base_model: Path, tmp_path: Path) -> None:
    from tunegate_trainer.training.worker import encode_rows

    long = [example(number) for number in range(900, 906)]
    for row in long:
        row["messages"][0]["content"] += " word" * 400

    result = validate([*ROWS, *long])

    config = training_config(tmp_path / "rows.jsonl", base_model, maxLength=256, developmentFraction="0.1")
    config = config.model_copy(update={"dataset": DatasetInput(path=config.dataset.path, group_field="holder")})
    training, development = encode_rows(config, ChatTokenizer(base_model))
    assert (result.training_rows, result.development_rows) == (len(training), len(development))
    assert (result.rows, result.rows_too_long) == (246, 6)


def test_data_of_which_every_row_is_too_long_is_refused(base_model: Path, tmp_path: Path) -> None:
    from tunegate_trainer.training.worker import encode_rows

    rows = make_rows(3)
    for row in rows:
        row["messages"][0]["content"] += " word" * 100
    config = training_config(write_rows(tmp_path / "rows.jsonl", rows), base_model)

    with pytest.raises(BadInput, match=r"none of the 3 rows is left to train on, with method\.maxLength 64"):
        encode_rows(config, ChatTokenizer(base_model))


@pytest.mark.parametrize(("ratio", "steps"), [("1", 30), ("0.5", 15), ("0.03", 1), ("0", 0)])
def test_a_warm_up_lasts_its_share_of_the_steps(base_model: Path, tmp_path: Path, ratio: str, steps: int) -> None:
    from tunegate_trainer.training.worker import make_arguments

    data = write_rows(tmp_path / "rows.jsonl", make_rows(3))
    config = training_config(data, base_model, warmupRatio=ratio, epochs=3, batchSize=1, gradientAccumulation=1)

    arguments = make_arguments(config, tmp_path, rows=10, develop=False, cuda=False)

    assert arguments.get_warmup_steps(30) == steps
