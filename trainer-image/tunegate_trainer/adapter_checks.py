"""What an adapter must look like so that vLLM loads it and it acts on this base model.

vLLM refuses some kinds of adapters at start, which would stop a whole server, and takes others that act on nothing:
tensors under names that the base model doesn't have are ignored in silence. So both are looked for here.
Source of the list: `PEFTHelper` of vLLM 0.32 and its LoRA loader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.api.stage.findings import Finding
from tunegate_trainer.endings import BadInput
from tunegate_trainer.findings import block
from tunegate_trainer.hashing import read_header, tensor_size
from tunegate_trainer.modules import Architecture
from tunegate_trainer.taking import Taken, take

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
HARMLESS = frozenset({".json", ".md", ".txt", ".jinja"})
UNSUPPORTED = {
    "use_dora": "DoRA", "modules_to_save": "fully trained modules (modules_to_save)", "lora_bias": "LoRA biases",
    "layer_replication": "layer replication", "use_qalora": "QALoRA", "alora_invocation_tokens": "activated LoRA",
    "trainable_token_indices": "trained token embeddings", "target_parameters": "LoRA on parameters",
    "megatron_config": "Megatron layers", "use_bdlora": "block-diagonal LoRA", "velora_config": "VeLoRA",
}  # fmt: skip
PLAIN_INITIALIZATIONS = (None, True, False, "gaussian", "orthogonal")
"""PiSSA, OLoRA, CorDA, LoftQ and EVA change the base's weights as well: such an adapter alone is not the model."""
TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True)
class AdapterFacts:
    """What the checks found."""

    findings: list[Finding]
    rank: int
    target_modules: list[str]
    parameters: int


def check_adapter(folder: Path, architecture: Architecture | None, max_rank: int) -> AdapterFacts:
    """Return what is wrong with the adapter in ``folder``, and its facts; without ``architecture`` no shapes are compared.

    Raises ``BadInput`` when there is no folder or no configuration to check.
    """
    findings = check_files(folder)
    config = read_adapter_config(folder)
    rank = _largest_rank(config)
    findings += _check_config(config, rank, max_rank)
    parameters = 0
    if (folder / WEIGHTS).is_file():
        header = read_header(folder / WEIGHTS)
        if architecture is not None:
            findings += _check_tensors(header, architecture)
        parameters = sum(tensor_size(tensor) for tensor in header.values())
    targets = config.get("target_modules") or []
    names = [targets] if isinstance(targets, str) else sorted(str(name) for name in targets)
    return AdapterFacts(findings, rank, names, parameters)


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return `adapter_config.json`. Raises ``BadInput``."""
    try:
        document = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"adapter: {CONFIG} is missing or not JSON") from error
    if not isinstance(document, dict):
        raise BadInput(f"adapter: {CONFIG} is not a JSON object")
    return document


def take_adapter(folder: Path, scratch: Path) -> Taken:
    """Return a private copy of the two files that are an adapter, and the digest of their manifest."""
    return take("adapter", folder, [folder / CONFIG, folder / WEIGHTS], scratch)


def has_files(folder: Path) -> bool:
    """Tell whether the two files that are an adapter are there."""
    return all((folder / name).is_file() and not (folder / name).is_symlink() for name in (CONFIG, WEIGHTS))


def check_files(folder: Path) -> list[Finding]:
    """Return what is wrong with the files of a folder. Raises ``BadInput`` when there is no folder.

    The two files must be there and be files. Documents and other JSON beside them are never read; code and pickles
    are refused so that nobody takes them for a part of what is sealed."""
    if not folder.is_dir():
        raise BadInput(f"adapter: {folder} is not a folder")
    findings = []
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file() or (folder / name).is_symlink():
            findings.append(block("Files", f"adapter: {name} must be a regular file; other formats are refused"))
    foreign = [
        path.name
        for path in sorted(folder.iterdir())
        if path.name != WEIGHTS and not path.name.startswith(".") and path.suffix.lower() not in HARMLESS
    ]
    if foreign:
        message = f"adapter: {', '.join(foreign[:5])}: only safetensors and JSON belong to an adapter; remove the rest"
        findings.append(block("Files", message, count=len(foreign)))
    return findings


def _largest_rank(config: Mapping[str, Any]) -> int:
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r", 0), *(pattern.values() if isinstance(pattern, dict) else [])]
    return max((rank for rank in ranks if isinstance(rank, int)), default=0)


def _check_config(config: Mapping[str, Any], rank: int, max_rank: int) -> list[Finding]:
    findings = []
    if config.get("peft_type") != "LORA":
        findings.append(block("Kind", "adapter: peft_type is not LORA: only LoRA adapters can be served"))
    if not 1 <= rank <= max_rank:
        findings.append(block("Rank", f"adapter: rank {rank}, the server profile allows 1 to {max_rank}"))
    if config.get("bias", "none") != "none":
        findings.append(block("Bias", "adapter: bias is trained (bias other than none): the engine can't load it"))
    if config.get("init_lora_weights", True) not in PLAIN_INITIALIZATIONS:
        findings.append(block("Initialization", "adapter: its initialization changed the base model's weights too"))
    for key, what in UNSUPPORTED.items():
        if config.get(key):
            findings.append(block("Unsupported", f"adapter: {what}: the engine can't load it"))
    return findings


def _check_tensors(header: Mapping[str, Mapping[str, Any]], architecture: Architecture) -> list[Finding]:
    """Every tensor must be side A or B of a linear layer of this base model, with that layer's width."""
    unknown = 0
    misshapen = 0
    sides: dict[str, set[str]] = {}
    for name, tensor in header.items():
        match = TENSOR.fullmatch(name)
        linear = architecture.linears.get(match["module"]) if match else None
        if match is None or linear is None:
            unknown += 1
            continue
        sides.setdefault(match["module"], set()).add(match["side"])
        shape = list(tensor.get("shape", []))
        width, axis = (linear.inputs, 1) if match["side"] == "A" else (linear.outputs, 0)
        misshapen += len(shape) != 2 or shape[axis] != width
    findings = []
    if unknown:
        message = f"adapter: {unknown} tensors fit no linear layer of the base model: made for another model"
        findings.append(block("BaseModel", message, count=unknown))
    if misshapen:
        message = f"adapter: {misshapen} tensors have shapes that do not fit the base model: made for another model"
        findings.append(block("BaseModel", message, count=misshapen))
    halves = sum(found != {"A", "B"} for found in sides.values())
    if halves or not header:
        findings.append(block("Tensors", "adapter: layers with only one of the two LoRA matrices", count=halves))
    return findings
