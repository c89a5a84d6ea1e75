"""Which weight files of a base model are loaded, and whether they are whole.

Training (transformers) and engine (vLLM) choose among the files of a folder by rules of their own. A folder is admitted
only when both come to the same files: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
Sources: ``_get_resolved_checkpoint_files`` of transformers 5.19; ``filter_duplicate_safetensors_files`` and
``_prepare_weights`` of vLLM 0.32.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunegate.api.stage.findings import Finding
from tunegate.safetensors_files import BrokenFile, Tensor, read_header
from tunegate_trainer.findings import block
from tunegate_trainer.inputs import is_model_file

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHOWN = 3


@dataclass(frozen=True)
class Weights:
    """The files that are loaded."""

    parameters: int = 0
    """Tied weights count once, as they are stored."""
    findings: list[Finding] = field(default_factory=list)


def read_weights(folder: Path) -> Weights:
    """Return what is loaded from ``folder``, and what is wrong with it."""
    names = {path.name for path in folder.glob("*.safetensors") if is_model_file(path)}
    if not names:
        return Weights(findings=[block("Weights", "no .safetensors weights: convert them first")])
    if not (folder / INDEX).is_file():
        findings = [] if names == {WHOLE} else [block("Weights", _without_index(names))]
        headers, broken = _headers(folder, names)
        return Weights(_count(headers), [*findings, *broken])
    index = _read_index(folder / INDEX)
    if index is None:
        return Weights(
            findings=[block("Weights", f"{INDEX} has no weight_map of tensors and their files: copy it again")]
        )
    named = set(index.values())
    headers, broken = _headers(folder, named & names)
    findings = list(_check_index(index, named, names, headers))
    return Weights(_count(headers), [*findings, *broken])


def read_tensors(folder: Path) -> dict[str, Tensor] | None:
    """Return all tensors that are loaded, by name; None when ``read_weights`` finds something wrong."""
    if read_weights(folder).findings:
        return None
    index = _read_index(folder / INDEX) if (folder / INDEX).is_file() else None
    headers, _ = _headers(folder, set(index.values()) if index else {WHOLE})
    return {name: tensor for header in headers.values() for name, tensor in header.items()}


def _without_index(names: Collection[str]) -> str:
    if WHOLE in names:
        others = sorted(set(names) - {WHOLE})
        return f"{_listed(others)} beside {WHOLE}: the engine would load these too, training would not. Remove them"
    return f"weights must be {WHOLE}, or shards that {INDEX} names; here are {_listed(sorted(names))} without an index"


def _check_index(
    index: Mapping[str, str],
    named: Collection[str],
    names: Collection[str],
    headers: Mapping[str, Mapping[str, Tensor]],
) -> Iterator[Finding]:
    if missing := sorted(set(named) - set(names)):
        message = f"{INDEX} names weight files that are not there: {_listed(missing)}. Copy them"
        if WHOLE in names:
            message = f"{message}, or remove {INDEX} if {WHOLE} holds all weights"
        yield block("Weights", message, count=len(missing))
    elif WHOLE in names and WHOLE not in named:
        message = (
            f"{WHOLE} beside the shards of {INDEX}: training would load the one, the engine the others. Remove one"
        )
        yield block("Weights", message)
    lost = sorted(tensor for tensor, file in index.items() if file in headers and tensor not in headers[file])
    if lost:
        message = f"{INDEX} names weights that its files do not hold: {_listed(lost)}. Copy index and files again"
        yield block("Weights", message, count=len(lost))


def _read_index(path: Path) -> dict[str, str] | None:
    try:
        index = json.loads(path.read_bytes())["weight_map"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    sound = isinstance(index, dict) and all(isinstance(file, str) for file in index.values())
    return index if sound and index else None


def _headers(folder: Path, names: Collection[str]) -> tuple[dict[str, dict[str, Tensor]], list[Finding]]:
    headers, broken = {}, []
    for name in sorted(names):
        try:
            headers[name] = read_header(folder / name)
        except BrokenFile as error:
            broken.append(block("Weights", str(error)))
    return headers, broken


def _count(headers: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(tensor.size for header in headers.values() for tensor in header.values())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
