"""Whether vLLM can load an adapter at all: one that it refuses would keep the whole engine from starting.

The rules are those of ``PEFTHelper`` in vLLM 0.32 (``vllm/lora/peft_helper.py``) and were checked when the job was
validated. They are checked again here because a static adapter that fails to load ends the engine, and with it every
other adapter of the server.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLAIN_INITIALIZATIONS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Initializations that leave the base model as it is; PiSSA, OLoRA, CorDA and LoftQ change it."""
UNSUPPORTED = ("use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora")
MAX_HEADER = 64 * 1024 * 1024


def obstacle(folder: Path, max_rank: int) -> str | None:
    """Return why the adapter in ``folder`` can't be loaded with ``--max-lora-rank max_rank``, or None when it can."""
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
    except (OSError, ValueError) as error:
        return f"adapter_config.json cannot be read ({type(error).__name__})"
    if not isinstance(config, dict):
        return "adapter_config.json is no JSON object"
    return _config_obstacle(config, max_rank) or _weights_obstacle(folder / "adapter_model.safetensors")


def _config_obstacle(config: Mapping[str, Any], max_rank: int) -> str | None:
    if config.get("peft_type") != "LORA":
        return f"peft_type is {config.get('peft_type')!r}, only LORA can be served"
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and 0 < rank <= max_rank for rank in ranks):
        return f"rank {max((r for r in ranks if isinstance(r, int)), default=None)}: the profile allows 1 to {max_rank}"
    for field in UNSUPPORTED:
        if config.get(field):
            return f"{field} cannot be served"
    if config.get("bias", "none") != "none":
        return f"bias {config['bias']!r} cannot be served"
    if config.get("modules_to_save"):
        return "modules_to_save cannot be served"
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in PLAIN_INITIALIZATIONS:
        return f"init_lora_weights {start!r} changes the base model and cannot be served"
    return None


def _weights_obstacle(path: Path) -> str | None:
    """Read the header only. Source: the safetensors format (8 bytes little-endian length, then JSON)."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length)) if length <= MAX_HEADER else {}
    except (OSError, ValueError, struct.error) as error:
        return f"adapter_model.safetensors cannot be read ({type(error).__name__})"
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    if not tensors:
        return "adapter_model.safetensors holds no tensors"
    end = max(value["data_offsets"][1] for value in tensors.values())
    if path.stat().st_size != 8 + length + end:
        return "adapter_model.safetensors is cut short"
    return None
