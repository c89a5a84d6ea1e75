"""Base models, adapters and checkpoints: weights, settings and seals."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.mutated_files.kinds import Files, Kind, Wrong, scratch
from tests.support.model_folder import ARCHITECTURE, TENSORS, make_adapter, make_model, write_safetensors
from tests.support.stage_process import KEY, stage_base, stage_context
from tunegate import adapter_rules, digests
from tunegate.api.stage.configs import HashConfig
from tunegate_trainer import base_settings, hashing
from tunegate_trainer.adapter_checks import (
    check_adapter,
    check_recorded_base,
    has_files,
    read_adapter_config,
    take_adapter,
)
from tunegate_trainer.endings import StageEnd, Unknown
from tunegate_trainer.files import remove
from tunegate_trainer.sealing import clean_config
from tunegate_trainer.training.attempt_times import AttemptLedger
from tunegate_trainer.training.checkpoints import newest_complete, seal_checkpoint
from tunegate_trainer.training.exchange import Outcome, read_outcome, write_outcome

STEPS = (10, 20)


def contents(folder: Path) -> Files:
    """Return the files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _base_model(*, shards: bool) -> Files:
    with TemporaryDirectory() as place:
        folder = make_model(Path(place, "model"))
        settings = {"eos_token_id": [1, 2], "model_type": "llama", "text_config": {"eos_token_id": 3}}
        (folder / "config.json").write_text(json.dumps(settings))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"chat_template": "{{ messages }}", "eos_token": "</s>"})
        )
        if shards:
            (folder / "model.safetensors").unlink()
            index = {name: f"model-0000{number}.safetensors" for number, name in enumerate(TENSORS)}
            for name, file in index.items():
                write_safetensors(folder / file, {name: TENSORS[name]})
            (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
        return contents(folder)


def read_base_model(folder: Path) -> str | None:
    """Read a base model as the catalogue admits it."""
    config = HashConfig(**stage_base("127.0.0.1:1"), path=str(folder))
    try:
        result = hashing.run(config, stage_context(scratch(folder)))
        stops = base_settings.stop_tokens(folder)
    except StageEnd as refused:
        return known(refused)
    if result.outcome == "Passed" and not (result.parameters and all(isinstance(stop, int) for stop in stops)):
        raise Wrong("a base model without weights passes")
    return "; ".join(finding.message for finding in result.findings) or None


def _adapter() -> Files:
    with TemporaryDirectory() as place:
        settings: dict[str, Any] = {
            "rank_pattern": {"q_proj": 4},
            "alpha_pattern": {},
            "base_model_name_or_path": "org/base",
            "use_rslora": False,
        }
        return contents(make_adapter(Path(place, "adapter"), None, **settings))


def read_adapter(folder: Path) -> str | None:
    """Check an adapter as validation, sealing and a serving pod do."""
    try:
        facts = check_adapter(folder, ARCHITECTURE, 16)
        warned = check_recorded_base(folder, "base")
        whole = has_files(folder)
        if whole:
            take_adapter(folder, scratch(folder))
            if not facts.findings:
                digests.canonical(clean_config(read_adapter_config(folder), "base"))
    except StageEnd as refused:
        return known(refused)
    found = [finding.message for finding in facts.findings]
    obstacle = adapter_rules.obstacle(folder, 16)
    if obstacle is not None and not found:
        raise Wrong(f"validation accepts what a serving pod refuses: {obstacle[:200]}")
    if not whole and not found:
        raise Wrong("an adapter without its two files passes")
    return "; ".join(found + [finding.message for finding in warned]) or None


def known(refused: StageEnd) -> str:
    """Return the message of an end that says what is wrong. Raises ``Wrong`` for one that does not."""
    if isinstance(refused, Unknown):
        raise Wrong(f"an unknown error: {refused.message}")
    return refused.message


def _checkpoints() -> Files:
    with TemporaryDirectory() as place:
        for step in STEPS:
            folder = Path(place, f"checkpoint-{step}")
            folder.mkdir()
            write_safetensors(folder / "adapter_model.safetensors", {"a": (4, 8)})
            (folder / "trainer_state.json").write_text(
                json.dumps({"global_step": step, "log_history": [{"loss": 1.5}]})
            )
            seal_checkpoint(folder, KEY, step=step, tokens=10 * step, world_size=1)
        return contents(Path(place))


def read_checkpoints(folder: Path) -> str | None:
    """Choose the checkpoint to go on from. One of this job's must have every byte that was sealed."""
    sealed = {
        path.parent.name: json.loads(path.read_bytes())
        for path in folder.glob("checkpoint-*/tunegate.json")
        if _good(path)
    }
    (folder / "checkpoint-²").mkdir()
    found = newest_complete(folder, KEY)
    if found.newest is None:
        return "checkpoint: none is whole"
    promised = sealed[found.newest.folder.name]
    for file in promised["files"]:
        if digests.file_digest(found.newest.folder / file["path"]) != f"sha256:{file['sha256']}":
            raise Wrong(f"{file['path']} of {found.newest.folder.name} has other bytes than were sealed")
    if found.newest.step not in STEPS or found.newest.tokens != 10 * found.newest.step:
        raise Wrong(f"a checkpoint of step {found.newest.step} with {found.newest.tokens} tokens")
    return None if found.newest.step == max(STEPS) else f"checkpoint-{max(STEPS)} is not read"


def _good(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _workspace() -> Files:
    with TemporaryDirectory() as place:
        folder = Path(place)
        AttemptLedger(folder, 1).record(12.5)
        outcome = Outcome("Finished", steps=3, loss_history=((1, 2.5), (3, 1.5)), development_history=((3, 1.0),))
        write_outcome(folder, outcome, 0)
        return contents(folder)


def read_workspace(folder: Path) -> str | None:
    """Read what earlier attempts and the training's processes left."""
    times = AttemptLedger(folder, 2)
    if not times.total >= 0:
        raise Wrong(f"{times.total} seconds of training")
    remove(folder / "attempts.json")
    try:
        outcome = read_outcome(folder)
    except Unknown as refused:
        return refused.message
    return None if outcome is not None else "outcome: none was left"


SAYS = r"config|json|jinja|safetensors|adapter|tokenizer|weights|links|base model"
KINDS = [
    Kind("base model", lambda: _base_model(shards=False), read_base_model, SAYS),
    Kind("base model in shards", lambda: _base_model(shards=True), read_base_model, SAYS),
    Kind("adapter", _adapter, read_adapter, r"adapter"),
    Kind("checkpoints", _checkpoints, read_checkpoints, r"checkpoint"),
    Kind("workspace", _workspace, read_workspace, r"outcome"),
]
