"""Seal stage: the adapter becomes an artifact of the registry. From here on nobody can change what is judged and served."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.adapter_rules import CONFIG, KEPT_SETTINGS, WEIGHTS
from tunegate.api.numbers import agreeing
from tunegate.api.stage.configs import SealConfig
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.results import SealResult
from tunegate.logs import event
from tunegate.registry.adapters import push_adapter
from tunegate_trainer.adapter_checks import check_adapter, check_files, read_adapter_config, take_adapter
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput
from tunegate_trainer.findings import block

log = logging.getLogger(__name__)


def run(config: SealConfig, context: StageContext) -> SealResult:
    """Check, clean, narrow to bfloat16 and push. Refused adapters are not pushed. Raises ``BadInput`` or registry errors."""
    place = Path(config.source_path)
    findings = check_files(place)
    if findings:
        return SealResult(outcome="Refused", findings=findings)
    taken = take_adapter(place, context.places.run)
    source = taken.root
    context.notes.note(adapter=taken.digest)
    if taken.digest != config.source_digest:
        raise BadInput(
            f"adapter: {place} has digest {taken.digest}, what was trained or validated has {config.source_digest}: "
            "somebody replaced it"
        )
    facts = check_adapter(source, None, config.max_lora_rank)
    if facts.findings:
        return SealResult(outcome="Refused", findings=facts.findings, rank=facts.rank)
    sealed = context.places.run / "sealed"
    sealed.mkdir()
    findings = write_weights(source / WEIGHTS, sealed / WEIGHTS)
    if findings:
        return SealResult(outcome="Refused", findings=findings, rank=facts.rank)
    cleaned = clean_config(read_adapter_config(source), config.base_model_name)
    (sealed / CONFIG).write_bytes(digests.canonical(cleaned))
    context.progress.show(50, "pushing")
    repository = f"{config.registry.repository}/adapter"
    stored = push_adapter(context.registry, repository, sealed)
    digest = digests.manifest_digest(stored.manifest)
    size = sum(entry.size for entry in stored.manifest.files)
    log.info("adapter sealed", extra=event("AdapterSealed", digest=digest, artifact=stored.digest, bytes=size))
    return SealResult(
        outcome="Passed",
        repository=repository,
        digest=stored.digest,
        manifest=stored.manifest,
        manifest_digest=digest,
        bytes=size,
        rank=facts.rank,
        target_modules=facts.target_modules,
    )


def clean_config(found: dict[str, Any], base_model_name: str) -> dict[str, Any]:
    """Return a configuration with what acts and nothing else, in one order: equal adapters get equal digests."""
    targets = found.get("target_modules")
    kept = {key: found[key] for key in KEPT_SETTINGS if found.get(key) is not None}
    return {
        **json.loads(json.dumps(kept)),
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "bias": "none",
        "inference_mode": True,
        "init_lora_weights": True,
        "base_model_name_or_path": base_model_name,
        "target_modules": targets if isinstance(targets, str) else sorted(targets or []),
    }


def write_weights(source: Path, target: Path) -> list[Finding]:
    """Write the tensors of ``source`` to ``target`` as bfloat16; return why not, when they are no usable numbers.

    The numbers are looked at as they are written: a float64 may be beyond what bfloat16 can hold.
    Raises ``BadInput`` when the file cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    try:
        tensors = load_file(source)
    except SafetensorError as error:
        raise BadInput(f"adapter: {source.name} cannot be loaded: copy it again") from error
    narrowed = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in sorted(tensors.items())}
    broken = sum(not bool(torch.isfinite(tensor).all()) for tensor in narrowed.values())
    if broken:
        held = agreeing("[tensor holds|tensors hold] values that are no numbers", broken)
        return [block("Numbers", f"adapter: {broken} {held}", count=broken)]
    if not any(bool(tensor.any()) for name, tensor in narrowed.items() if ".lora_B." in name):
        return [block("Effect", "adapter: every second matrix is zero: it would change nothing")]
    save_file(narrowed, target, metadata={"format": "pt"})
    target.chmod(0o644)
    return []
