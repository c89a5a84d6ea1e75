"""What an adapter must look like so that vLLM loads it and it acts on this base model.

``tunegate.adapter_rules`` has what the engine refuses. It takes others that act on nothing: tensors under names that the
base model doesn't have are ignored in silence. So those are looked for here, and so is the base model that the adapter was
tuned on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate import adapter_rules
from tunegate.adapter_rules import CONFIG, TENSOR, WEIGHTS
from tunegate.api.numbers import agreeing
from tunegate.api.stage.findings import Finding
from tunegate.safetensors_files import BrokenFile, Tensor, read_header
from tunegate_trainer.endings import BadInput
from tunegate_trainer.findings import block, warn
from tunegate_trainer.folders import RECOVERED
from tunegate_trainer.modules import Architecture
from tunegate_trainer.taking import Taken, take

HARMLESS = frozenset({".json", ".md", ".txt", ".jinja"})
MOST_NAME_CHARACTERS = 120
"""Of a name in an adapter that is shown: its maker may have written anything there."""


@dataclass(frozen=True)
class AdapterFacts:
    """What the checks found."""

    findings: list[Finding]
    rank: int
    target_modules: list[str]
    parameters: int


def check_adapter(folder: Path, architecture: Architecture | None, max_rank: int) -> AdapterFacts:
    """Return what is wrong with the adapter in ``folder``, and its facts; without ``architecture`` no shapes are compared.

    Raises ``BadInput`` when there is no folder or no configuration to check, or the weights are not a whole file.
    """
    findings = check_files(folder)
    config = read_adapter_config(folder)
    problems = adapter_rules.config_problems(config, max_rank)
    parameters = 0
    if (folder / WEIGHTS).is_file():
        header = _read_weights(folder)
        problems += adapter_rules.tensor_problems(config, header)
        if architecture is not None:
            findings += _check_layers(header, architecture)
        parameters = sum(tensor.size for tensor in header.values())
    findings += [block(problem.check, f"adapter: {problem.message}", count=problem.count) for problem in problems]
    return AdapterFacts(findings, adapter_rules.largest_rank(config), _targets(config), parameters)


def _targets(config: Mapping[str, Any]) -> list[str]:
    """Return the layers that the settings name; none where they are of another form, which is a finding."""
    targets = config.get("target_modules")
    if isinstance(targets, str):
        return [targets]
    return sorted(map(str, targets)) if isinstance(targets, list) else []


def check_recorded_base(folder: Path, base_model: str) -> list[Finding]:
    """Show reviewers which base model an imported adapter was tuned on, unless it is clearly that of the job.

    Another version of equal shape loads and answers badly, and sealing writes the job's base model into the adapter's
    settings: this finding is where the record stays. Raises ``BadInput``.
    """
    recorded = read_adapter_config(folder).get("base_model_name_or_path")
    if not isinstance(recorded, str) or not recorded:
        message = f"adapter: it does not record the base model that it was tuned on; this job's is {base_model}"
        return [warn("RecordedBase", f"{message}. Ask its maker whether they are the same")]
    if recorded.rstrip("/").rsplit("/", 1)[-1].lower() == base_model.lower():
        return []
    shown = ascii(recorded[:MOST_NAME_CHARACTERS])
    message = f"adapter: it records that it was tuned on {shown}; this job's base model is {base_model}"
    return [warn("RecordedBase", f"{message}. Make sure that they are the same model and version")]


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return `adapter_config.json`. Raises ``BadInput``."""
    try:
        return adapter_rules.read_config(folder)
    except adapter_rules.BrokenConfig as error:
        raise BadInput(f"adapter: {error}") from error


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
        if (folder / name).is_symlink():
            findings.append(block("Files", f"adapter: {name} is a link: copy the folder with `cp -rL`"))
        elif not (folder / name).is_file():
            findings.append(block("Files", f"adapter: {name} must be a regular file; other formats are refused"))
    foreign = [
        path.name
        for path in sorted(folder.iterdir())
        if path.name not in (WEIGHTS, RECOVERED) and path.name[0] != "." and path.suffix.lower() not in HARMLESS
    ]
    if foreign:
        message = f"adapter: {', '.join(foreign[:5])}: only safetensors and JSON belong to an adapter; remove the rest"
        findings.append(block("Files", message, count=len(foreign)))
    return findings


def _read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return read_header(folder / WEIGHTS)
    except BrokenFile as error:
        raise BadInput(f"adapter: {error}") from error


def _check_layers(header: Mapping[str, Tensor], architecture: Architecture) -> list[Finding]:
    """Every pair must be one of a linear layer of this base model, with that layer's widths."""
    unknown: set[str] = set()
    misshapen: set[str] = set()
    for name, tensor in header.items():
        match = TENSOR.fullmatch(name)
        if match is None or adapter_rules.of_vocabulary(name):
            continue
        linear = architecture.linears.get(match["module"])
        if linear is None:
            unknown.add(match["module"])
            continue
        width, axis = (linear.inputs, 1) if match["side"] == "A" else (linear.outputs, 0)
        if len(tensor.shape) != 2 or tensor.shape[axis] != width:
            misshapen.add(match["module"])
    return [
        block(
            "BaseModel",
            f"adapter: {_layers(modules)} {agreeing(wrong, len(modules))}: made for another model",
            count=len(modules),
        )
        for modules, wrong in (
            (unknown, "[is no linear layer|are no linear layers] of the base model"),
            (misshapen, "[does|do] not have the base model's widths"),
        )
        if modules
    ]


def _layers(modules: Collection[str]) -> str:
    first = min(modules)[:MOST_NAME_CHARACTERS]
    return f"layer {first}" if len(modules) == 1 else f"{len(modules)} layers, such as {first},"
