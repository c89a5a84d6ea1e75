"""Adapters that the engine would refuse, or that would act on nothing, are found before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.model_folder import ARCHITECTURE, make_adapter
from tunegate_trainer.adapter_checks import check_adapter, check_recorded_base
from tunegate_trainer.endings import BadInput

MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def checks(folder: Path, max_rank: int = 16) -> set[str]:
    return {finding.check for finding in check_adapter(folder, ARCHITECTURE, max_rank).findings}


def test_a_plain_adapter_passes_with_its_facts(tmp_path: Path) -> None:
    facts = check_adapter(make_adapter(tmp_path / "a"), ARCHITECTURE, 16)

    assert facts.findings == []
    assert (facts.rank, facts.target_modules, facts.parameters) == (4, ["q_proj"], 64)


@pytest.mark.parametrize(
    ("config", "check"),
    [
        ({"use_dora": True}, "Unsupported"),
        ({"modules_to_save": ["lm_head"]}, "Unsupported"),
        ({"bias": "all"}, "Bias"),
        ({"lora_bias": True}, "Unsupported"),
        ({"r": 32}, "Rank"),
        ({"rank_pattern": {"q_proj": 64}}, "Rank"),
        ({"r": 0}, "Rank"),
        ({"peft_type": "IA3"}, "Kind"),
        ({"init_lora_weights": "pissa"}, "Initialization"),
        ({"init_lora_weights": "loftq"}, "Initialization"),
        ({"layer_replication": [[0, 1]]}, "Unsupported"),
        ({"trainable_token_indices": [1]}, "Unsupported"),
    ],
)
def test_what_the_engine_refuses_is_refused(tmp_path: Path, config: dict[str, Any], check: str) -> None:
    assert checks(make_adapter(tmp_path / "a", **config)) == {check}


def test_rank_stabilized_lora_is_served(tmp_path: Path) -> None:
    assert checks(make_adapter(tmp_path / "a", use_rslora=True, alpha_pattern={"q_proj": 4})) == set()


@pytest.mark.parametrize(
    ("tensors", "check"),
    [
        ({f"{MODULE}.lora_A.weight": (4, 9), f"{MODULE}.lora_B.weight": (8, 4)}, "BaseModel"),
        ({f"{MODULE}.lora_A.weight": (4, 8), f"{MODULE}.lora_B.weight": (9, 4)}, "BaseModel"),
        ({"base_model.model.other.lora_A.weight": (4, 8), "base_model.model.other.lora_B.weight": (8, 4)}, "BaseModel"),
        ({"other.lora_A.weight": (4, 8), "other.lora_B.weight": (8, 4)}, "Tensors"),
        ({f"{MODULE}.lora_A.weight": (4, 8)}, "Tensors"),
        ({}, "Tensors"),
    ],
)
def test_tensors_of_another_model_are_refused(tmp_path: Path, tensors: dict[str, tuple[int, ...]], check: str) -> None:
    assert check in checks(make_adapter(tmp_path / "a", tensors))


@pytest.mark.attack(13)
@pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.bin", "model.py", "weights.pt", "x.safetensors"])
def test_other_weights_and_code_beside_it_are_refused(tmp_path: Path, name: str) -> None:
    folder = make_adapter(tmp_path / "a")
    (folder / name).write_bytes(b"x")

    assert checks(folder) == {"Files"}


def test_documents_beside_it_do_no_harm(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a")
    (folder / "README.md").write_text("card")
    (folder / "tokenizer_config.json").write_text("{}")

    assert checks(folder) == set()


def test_a_link_is_no_adapter(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "adapter_model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")

    assert "Files" in checks(folder)


def test_weights_that_are_no_safetensors_are_bad_input(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04pickle")

    with pytest.raises(BadInput, match="safetensors"):
        checks(folder)


def test_another_base_model_that_the_adapter_records_is_shown_to_reviewers(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", base_model_name_or_path="HuggingFaceTB/SmolLM2-135M")

    (finding,) = check_recorded_base(folder, "smollm2-135m-instruct")

    assert (finding.check, finding.action) == ("RecordedBase", "Warn")
    assert "'HuggingFaceTB/SmolLM2-135M'" in finding.message
    assert "smollm2-135m-instruct" in finding.message


@pytest.mark.parametrize("recorded", ["HuggingFaceTB/SmolLM2-135M-Instruct", "/models/smollm2-135m-instruct/"])
def test_the_same_base_model_needs_no_warning(tmp_path: Path, recorded: str) -> None:
    folder = make_adapter(tmp_path / "a", base_model_name_or_path=recorded)

    assert check_recorded_base(folder, "smollm2-135m-instruct") == []


@pytest.mark.parametrize("recorded", [None, "", 7])
def test_an_adapter_without_a_recorded_base_model_is_pointed_out(tmp_path: Path, recorded: object) -> None:
    (finding,) = check_recorded_base(make_adapter(tmp_path / "a", base_model_name_or_path=recorded), "smollm2")

    assert "does not record the base model" in finding.message


def test_a_recorded_name_cannot_write_lines_of_its_own(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", base_model_name_or_path="x\n\u202eapproved" + "y" * 5000)

    (finding,) = check_recorded_base(folder, "smollm2")

    assert finding.message.isascii()
    assert "\n" not in finding.message
    assert len(finding.message) < 400
