"""What every stage pod does: read the configuration, run the stage, push its result, leave a last word.

Exit codes are ``tunegate.api.stage.ends.ExitCode``; anything else is an attempt that ended without a word.
"""

from __future__ import annotations

import argparse
import logging
import signal
import tempfile
from pathlib import Path

from pydantic import ValidationError

from tunegate import digests
from tunegate.api.reasons import StageReason
from tunegate.api.stage import configs, layout
from tunegate.api.stage.configs import STAGE_CONFIG, StageConfig
from tunegate.api.stage.ends import ExitCode, Termination
from tunegate.api.stage.results import StageResult
from tunegate.logs import event
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Full, RegistryError, Unauthorized
from tunegate.registry.failures import Unavailable as RegistryUnavailable
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.endings import (
    BadInput,
    ConfigurationDiffers,
    OutOfMemory,
    Preempted,
    RegistryFull,
    StageEnd,
    StorageFull,
    Unavailable,
    Unknown,
)
from tunegate_trainer.full_storage import storage_full, where_full
from tunegate_trainer.logs import start_logging
from tunegate_trainer.progress import ProgressBoard, serve
from tunegate_trainer.stopping import STOPPED, StopRequest

log = logging.getLogger("tunegate_trainer")

PROGRESS_FILE = "progress.json"
REGISTRY_PATIENCE_SECONDS = 900.0
"""How long a stage waits for a registry that is away, read-only or full, before what it calculated is lost."""
MAX_MESSAGE = 1800
"""Bytes of a termination message; the kubelet keeps 4096 of the whole document, and JSON may double a character."""


def main(arguments: list[str] | None = None) -> int:
    """Run one stage and return its exit code."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="stage-") as run:
        places = Places(
            config=options.config,
            termination=options.termination,
            registry_auth=options.registry_auth,
            ca=options.ca,
            store=options.store,
            workspace=options.workspace,
            base_record=options.base_record,
            checkpoint_key=options.checkpoint_key,
            run=Path(run),
        )
        try:
            config = _read(places.config, options.config_digest)
        except (BadInput, ConfigurationDiffers) as end:
            start_logging("unknown")
            return _end(places, end)
        start_logging(config.stage)
        try:
            stop = StopRequest()
            signal.signal(signal.SIGTERM, stop.on_signal)
            return _run(config, options, places, stop)
        except Preempted as end:  # before the stage began
            return _end(places, end)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tunegate_trainer", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path(layout.CONFIG_PATH), help="stage configuration (JSON)")
    parser.add_argument(
        "--config-digest", required=True, help="sha256:… of that document: another one is refused before it is read"
    )
    parser.add_argument(
        "--termination", type=Path, default=Path(layout.TERMINATION_PATH), help="file for the last word"
    )
    parser.add_argument(
        "--registry-auth", type=Path, default=Path(layout.REGISTRY_AUTH_PATH), help="Docker config.json"
    )
    parser.add_argument("--ca", type=Path, default=Path(layout.CA_PATH), help="additional certificate authority")
    parser.add_argument("--store", type=Path, default=Path(layout.STORE_DIR), help="address and credential of a store")
    parser.add_argument("--workspace", type=Path, default=Path(layout.WORKSPACE_MOUNT), help="the job's own volume")
    parser.add_argument(
        "--base-record", type=Path, default=Path(layout.BASE_RECORD_PATH), help="what check-base hashed"
    )
    parser.add_argument(
        "--checkpoint-key", type=Path, default=Path(layout.CHECKPOINT_KEY_PATH), help="key of the job's checkpoints"
    )
    parser.add_argument("--progress-port", type=int, default=layout.PROGRESS_PORT, help="0: any free port")
    parser.add_argument(
        "--registry-patience", type=float, default=REGISTRY_PATIENCE_SECONDS, help="seconds to wait for the registry"
    )
    return parser.parse_args(arguments)


def _read(path: Path, promised: str) -> StageConfig:
    """Return the configuration whose digest the pod was made with. The bytes that are compared are those that are parsed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if (found := digests.sha256(content)) != promised:
        raise ConfigurationDiffers(
            f"{path}: has digest {found}, this pod was made for {promised}: somebody replaced its ConfigMap"
        )
    try:
        return STAGE_CONFIG.validate_json(content)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        raise BadInput(f"{path}: not a stage configuration: {fields}") from error


def _run(config: StageConfig, options: argparse.Namespace, places: Places, stop: StopRequest) -> int:
    registry = RegistryClient(
        config.registry.host,
        plain_http=config.registry.plain_http,
        auth_file=places.registry_auth,
        ca_file=places.ca,
        patience=options.registry_patience,
    )
    board = ProgressBoard(config.stage, places.run / PROGRESS_FILE)
    server = serve(board, options.progress_port)
    log.info(
        "stage starts",
        extra=event("StageStarted", job=f"{config.job.namespace}/{config.job.name}", attempt=config.job.attempt),
    )
    try:
        with registry:
            context = StageContext(places, registry, board)
            result = _dispatch(config, context)
            stop.check()
            inputs = context.notes.settle()
            if result is not None:
                result = result.model_copy(update={"config_digest": options.config_digest, "inputs": inputs})
            digest = _publish(config, registry, result) if result is not None else None
    except (Exception, Preempted) as error:
        return _end(places, Preempted(STOPPED) if stop.came else _end_of(error, places.workspace))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server.shutdown()
    _write_termination(places.termination, _verdict(result, digest))
    log.info("stage ends with a verdict", extra=event("StageEnded", result=digest))
    return ExitCode.VERDICT


def _dispatch(config: StageConfig, context: StageContext) -> StageResult | None:
    """Run the stage. Imports are late: torch is not needed by most stages."""
    match config:
        case configs.HashConfig():
            from tunegate_trainer import hashing

            return hashing.run(config, context)
        case configs.ValidateConfig():
            from tunegate_trainer import validation

            return validation.run(config, context)
        case configs.BaselineConfig():
            from tunegate_trainer.evaluation import baseline

            return baseline.run(config, context)
        case configs.TrainConfig():
            from tunegate_trainer import training

            return training.run(config, context)
        case configs.SealConfig():
            from tunegate_trainer import sealing

            return sealing.run(config, context)
        case configs.EvaluateConfig():
            from tunegate_trainer.evaluation import evaluate

            return evaluate.run(config, context)
        case configs.CheckBaseConfig():
            from tunegate_trainer import inputs

            inputs.record_base_model(config.base_model, context)
            return None
        case configs.FetchConfig():
            from tunegate_trainer import fetching

            fetching.run(config, context)
            return None
        case configs.DownloadConfig():
            from tunegate_trainer import downloading

            downloading.run(config, context)
            return None
        case configs.PullDataConfig():
            from tunegate_trainer import pulling

            pulling.run(config, context)
            return None
        case configs.CopyModelConfig():
            from tunegate_trainer import mirroring

            mirroring.run(config, context)
            return None


def _publish(config: StageConfig, registry: RegistryClient, result: StageResult) -> str:
    content = result.model_dump_json(by_alias=True).encode()
    return registry.push_document(f"{config.registry.repository}/results", content, layout.RESULT_MEDIA_TYPE)


def _verdict(result: StageResult | None, digest: str | None) -> Termination:
    if result is not None and result.outcome == "Refused":
        messages = [finding.message for finding in result.findings if finding.action == "Block"]
        return Termination(reason=StageReason.REFUSED, message="; ".join(messages), result_digest=digest)
    return Termination(reason=StageReason.COMPLETED, result_digest=digest)


def _end_of(error: Exception | Preempted, workspace: Path) -> StageEnd | Preempted:
    """Return how a stage ends by an error: an unknown one keeps its type only, since its text may quote data."""
    if isinstance(error, StageEnd | Preempted):
        return error
    if isinstance(error, Full):
        return RegistryFull(str(error))
    if isinstance(error, RegistryUnavailable | Unauthorized):
        return Unavailable(str(error))  # the next attempt gets a new credential
    if isinstance(error, RegistryError):
        return BadInput(str(error))
    log.error("stage failed", exc_info=error, extra=event("StageFailed"))
    if storage_full(error, workspace):
        return StorageFull(where_full(workspace))
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:
        return OutOfMemory("memory ran out: lower method.batchSize or method.maxLength, or use a larger pool")
    return Unknown(f"{type(error).__name__} (see the pod's log)")


def _end(places: Places, end: StageEnd | Preempted) -> int:
    log.warning(
        "stage ends without a verdict", extra=event("StageEndedWithoutVerdict", reason=end.reason, detail=end.message)
    )
    _write_termination(places.termination, Termination(reason=end.reason, message=end.message))
    return end.exit_code


def _write_termination(path: Path, word: Termination) -> None:
    message = word.message.encode()[:MAX_MESSAGE].decode(errors="ignore")
    short = word.model_copy(update={"message": message})
    try:
        path.write_text(short.model_dump_json(by_alias=True, exclude_none=True))
    except OSError as error:
        log.error(
            "the last word could not be written",
            extra=event("TerminationNotWritten", path=str(path), cause=error.strerror),
        )
