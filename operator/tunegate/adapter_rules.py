"""What an adapter must be so that vLLM loads it and scales it as PEFT did: the one list for training and serving.

The trainer asks before an adapter is sealed, a serving pod before its engine starts: vLLM ends with all its adapters when
one cannot be loaded. Source: ``PEFTHelper`` (``vllm/lora/peft_helper.py``) and the LoRA loader of vLLM 0.32.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.regular_files import read_regular
from tunegate.safetensors_files import BrokenFile, Tensor, read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
KEPT_SETTINGS = (
    "r", "lora_alpha", "lora_dropout", "fan_in_fan_out", "use_rslora", "rank_pattern", "alpha_pattern",
)  # fmt: skip
"""Settings that change what the adapter does. All others are paths, names and versions of where it was made."""
UNSUPPORTED = {
    "use_dora": "DoRA", "modules_to_save": "fully trained modules (modules_to_save)", "lora_bias": "LoRA biases",
    "layer_replication": "layer replication", "use_qalora": "QALoRA", "alora_invocation_tokens": "activated LoRA",
    "trainable_token_indices": "trained token embeddings", "target_parameters": "LoRA on parameters",
    "megatron_config": "Megatron layers", "use_bdlora": "block-diagonal LoRA", "velora_config": "VeLoRA",
}  # fmt: skip
PLAIN_INITIALIZATIONS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Initializations that leave the base model as it is. PiSSA, OLoRA, CorDA and LoftQ change it: such an adapter alone is
not the model."""
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
VOCABULARY = frozenset({
    "embed_tokens", "tok_embeddings", "word_embeddings", "embed_in", "wte", "lm_head", "embed_out", "output_layer",
})  # fmt: skip
"""Names of layers that turn tokens into numbers or back: the engine takes LoRA on the layers between them only."""
PATTERN_KEY = re.compile(r"[\w.\\^$\[\]*+?-]{1,200}")
MOST_REPETITIONS = 2
"""In a key of `rank_pattern` or `alpha_pattern`. Keys are regular expressions: more would let one run for hours."""
MOST_NAME_CHARACTERS = 500
"""Of a tensor. Keys are looked for in its name, which in a longer one takes hours, too."""


@dataclass(frozen=True)
class Problem:
    """Why an adapter cannot be served. ``check`` is the word by which findings of its kind are counted."""

    check: str
    message: str
    count: int = 1


class BrokenConfig(Exception):
    """`adapter_config.json` is missing or not a JSON object."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return `adapter_config.json`. Raises ``BrokenConfig``."""
    try:
        document = json.loads(read_regular(folder / CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenConfig(f"{CONFIG} is missing or not JSON") from error
    if not isinstance(document, dict):
        raise BrokenConfig(f"{CONFIG} is not a JSON object")
    return document


def obstacle(folder: Path, max_rank: int) -> str | None:
    """Return the first reason why the adapter can't be loaded with ``--max-lora-rank max_rank``, or None when it can."""
    try:
        config = read_config(folder)
        problems = config_problems(config, max_rank) or tensor_problems(config, read_header(folder / WEIGHTS))
    except (BrokenConfig, BrokenFile) as error:
        return str(error)
    return problems[0].message if problems else None


def largest_rank(config: Mapping[str, Any]) -> int:
    """Return the largest rank that the settings name; 0 when they name none."""
    return max(
        (rank for rank in (config.get("r"), *_pattern(config, "rank_pattern").values()) if _whole(rank)), default=0
    )


def config_problems(config: Mapping[str, Any], max_rank: int) -> list[Problem]:
    """Return what is wrong with the settings."""
    problems = [
        *_wrong_kind(config), *_wrong_numbers(config, max_rank), *_wrong_patterns(config, max_rank), *_unwritable(config),
    ]  # fmt: skip
    if config.get("bias", "none") != "none":
        problems.append(Problem("Bias", "bias is trained (bias other than none): the engine can't load it"))
    start = config.get("init_lora_weights", True)
    if start is not None and not isinstance(start, bool) and str(start).lower() not in PLAIN_INITIALIZATIONS:
        message = f"init_lora_weights {str(start)[:40]!r}: this initialization changed the base model's weights too"
        problems.append(Problem("Initialization", message))
    for key, what in UNSUPPORTED.items():
        if config.get(key):
            problems.append(Problem("Unsupported", f"{what}: the engine can't load it"))
    return problems


def tensor_problems(config: Mapping[str, Any], header: Mapping[str, Tensor]) -> list[Problem]:
    """Return where the weights are no LoRA matrices, or not those that the settings describe."""
    pairs: dict[str, dict[str, Tensor]] = {}
    vocabulary, others = [], []
    for name, tensor in header.items():
        match = TENSOR.fullmatch(name)
        if of_vocabulary(name):
            vocabulary.append(name)
        elif match is None or len(name) > MOST_NAME_CHARACTERS:
            others.append(name)
        else:
            pairs.setdefault(match["module"], {})[match["side"]] = tensor
    problems = []
    if vocabulary:
        message = (
            f"holds weights of the embedding or of the output layer ({_first(vocabulary)}): the engine can't load these. "
            "Train without them, and save with save_embedding_layers=False"
        )
        problems.append(Problem("Unsupported", message, len(vocabulary)))
    if others:
        message = f"holds tensors that are no LoRA matrices of a layer ({_first(others)}): the engine can't load them"
        problems.append(Problem("Tensors", message, len(others)))
    return [*problems, *_wrong_pairs(config, pairs)]


def of_vocabulary(name: str) -> bool:
    """Tell whether a tensor is one of the embedding or of the output layer."""
    return not VOCABULARY.isdisjoint(name.split("."))


def _wrong_pairs(config: Mapping[str, Any], pairs: Mapping[str, Mapping[str, Tensor]]) -> Iterator[Problem]:
    """Matrix A is rank x inputs and matrix B outputs x rank, with the rank that the settings give this layer."""
    halves, forms, numbers, ranks = [], [], [], []
    for module, sides in pairs.items():
        if sides.keys() != {"A", "B"}:
            halves.append(module)
            continue
        a, b = sides["A"], sides["B"]
        if not {a.dtype, b.dtype} <= FLOATS:
            numbers.append(f"{module}: {a.dtype}, {b.dtype}")
        if len(a.shape) != 2 or len(b.shape) != 2:
            forms.append(module)
        elif a.shape[0] != b.shape[1]:
            forms.append(f"{module}: A has rank {a.shape[0]}, B has rank {b.shape[1]}")
        elif _whole(expected := _rank_of(config, module)) and a.shape[0] != expected:
            ranks.append(f"{module}: {a.shape[0]} instead of {expected}")
    if halves or not pairs:
        yield Problem(
            "Tensors", "layers with only one of the two LoRA matrices, or no LoRA matrices at all", max(1, len(halves))
        )
    if forms:
        yield Problem("Tensors", f"pairs of LoRA matrices that do not fit each other ({_first(forms)})", len(forms))
    if ranks:
        message = f"the weights have another rank than {CONFIG} says ({_first(ranks)}): the two files are of different adapters"
        yield Problem("Rank", message, len(ranks))
    if numbers:
        yield Problem("Tensors", f"LoRA matrices must be {', '.join(sorted(FLOATS))} ({_first(numbers)})", len(numbers))


def _wrong_kind(config: Mapping[str, Any]) -> Iterator[Problem]:
    if config.get("peft_type") != "LORA":
        yield Problem("Kind", "peft_type is not LORA: only LoRA adapters can be served")
    targets = config.get("target_modules")
    if not (isinstance(targets, str) or (isinstance(targets, list) and all(isinstance(name, str) for name in targets))):
        yield Problem("Settings", f"{CONFIG}: target_modules is missing or not a list of names")
    elif not targets:
        yield Problem("Settings", f"{CONFIG}: target_modules names no layer")
    for key in ("use_rslora", "fan_in_fan_out"):
        if not isinstance(config.get(key, False), bool | None):
            yield Problem("Settings", f"{CONFIG}: {key} must be true or false")


def _wrong_numbers(config: Mapping[str, Any], max_rank: int) -> Iterator[Problem]:
    if not _whole(config.get("r")):
        yield Problem(
            "Rank", f"{CONFIG}: r (the rank) is missing or not a whole number: the profile allows 1 to {max_rank}"
        )
    elif not 1 <= config["r"] <= max_rank:
        yield Problem("Rank", f"rank {str(config['r'])[:20]}, the server profile allows 1 to {max_rank}")
    if not _positive(config.get("lora_alpha")):
        known = "is missing" if config.get("lora_alpha") is None else "is not a number above 0"
        message = (
            f"{CONFIG}: lora_alpha {known}: the engine scales by it. Write the number that the adapter was trained with"
        )
        yield Problem("Settings", message)


def _unwritable(config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is sealed is RFC 8785 JSON, which holds no number that doubles cannot and no text that UTF-8 cannot."""
    for key in (*KEPT_SETTINGS, "target_modules"):
        try:
            digests.canonical(config.get(key))
        except ValueError:
            allowed = "whole numbers up to 2^53, finite fractions, whole characters"
            yield Problem(
                "Settings", f"{CONFIG}: {key} cannot be read alike by all readers of JSON; allowed are {allowed}"
            )


def _wrong_patterns(config: Mapping[str, Any], max_rank: int) -> Iterator[Problem]:
    for field, check in (("rank_pattern", "Rank"), ("alpha_pattern", "Settings")):
        if not isinstance(config.get(field) or {}, dict):
            yield Problem(check, f"{CONFIG}: {field} is not an object of layer names")
        for key, value in _pattern(config, field).items():
            if not _usable(key):
                allowed = f"a layer's name, or a regular expression without groups and with at most {MOST_REPETITIONS} of * + ?"
                yield Problem(check, f"{CONFIG}: {field}: {key[:80]!r} is not {allowed}")
            if field == "rank_pattern" and not (_whole(value) and 1 <= value <= max_rank):
                yield Problem(
                    check,
                    f"{CONFIG}: {field}: {key[:80]!r} has rank {str(value)[:20]}, the server profile allows 1 to {max_rank}",
                )
            if field == "alpha_pattern" and not _positive(value):
                yield Problem(check, f"{CONFIG}: {field}: {key[:80]!r} must have a number above 0")


def _rank_of(config: Mapping[str, Any], module: str) -> Any:
    """Return the rank of a layer as PEFT and vLLM find it: the first key that is the end of the layer's name wins."""
    for key, rank in _pattern(config, "rank_pattern").items():
        if _usable(key) and re.match(rf"(.*\.)?({key})$", module):
            return rank
    return config.get("r")


def _usable(key: str) -> bool:
    if PATTERN_KEY.fullmatch(key) is None or len(re.findall(r"[*+?]", key)) > MOST_REPETITIONS:
        return False
    try:
        re.compile(key)
    except re.error:
        return False
    return True


def _pattern(config: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    found = config.get(field)
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0][:120]}{more}"
