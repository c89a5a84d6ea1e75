"""How a stage process ends when it can't reach a verdict, and what it says of itself while it runs."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.model_folder import make_adapter, make_model
from tests.support.ports import free_port
from tests.support.registry_process import running_registry
from tests.support.stage_process import REPOSITORY, Pod, stage_base, until_handled
from tunegate import digests
from tunegate.api.stage.configs import AdapterInput, FetchConfig, HashConfig, RegistryTarget
from tunegate.api.stage.ends import ExitCode, ProgressReport, Termination
from tunegate.registry.adapters import push_adapter, read_manifest
from tunegate.registry.client import RegistryClient
from tunegate_trainer import entry
from tunegate_trainer.logs import StageLines
from tunegate_trainer.progress import ProgressBoard, serve, write_report


def test_a_configuration_with_an_unknown_field_is_bad_input(pod: Pod, tmp_path: Path) -> None:
    config = tmp_path / "stage.json"
    config.write_text(json.dumps({"stage": "Hash", "surprise": 1}))
    promised = ("--config-digest", digests.sha256(config.read_bytes()))

    code = entry.main(
        ["--config", str(config), *promised, "--termination", str(tmp_path / "word"), "--progress-port", "0"]
    )

    word = Termination.model_validate_json((tmp_path / "word").read_bytes())
    assert (code, word.reason, word.result_digest) == (ExitCode.BAD_INPUT, "BadInput", None)
    assert "surprise" in word.message


def test_a_stage_that_is_stopped_while_its_libraries_load_ends_at_once(pod: Pod, tmp_path: Path) -> None:
    """The kernel delivers SIGTERM to process 1 of a container only where there is a handler."""
    stage = pod.start(HashConfig(**stage_base(pod.host), path=str(tmp_path / "nothing")))
    proc = Path("/proc", str(stage.process.pid))
    until_handled(proc, signal.SIGTERM)
    loaded = "pydantic_core" in (proc / "maps").read_text()
    stage.process.terminate()

    assert (stage.process.wait(timeout=60), loaded) == (128 + signal.SIGTERM, False)


def test_a_missing_input_is_bad_input(pod: Pod, tmp_path: Path) -> None:
    ending = pod.run(HashConfig(**stage_base(pod.host), path=str(tmp_path / "nothing")))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.BAD_INPUT, "BadInput")


def test_a_silent_registry_is_unavailable(pod: Pod, tmp_path: Path) -> None:
    base = stage_base(pod.host) | {"registry": RegistryTarget(host="127.0.0.1:9", plain_http=True, repository="a/b")}

    ending = pod.run(HashConfig(**base, path=str(make_model(tmp_path / "model"))))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")


def test_fetch_puts_the_sealed_adapter_where_the_engine_looks(pod: Pod, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "made")
    with RegistryClient(pod.host, plain_http=True) as client:
        sealed = push_adapter(client, f"{REPOSITORY}/adapter", folder)
    adapter = AdapterInput(
        repository=f"{REPOSITORY}/adapter",
        digest=sealed.digest,
        manifest=sealed.manifest,
        manifest_digest=digests.manifest_digest(sealed.manifest),
        path=str(tmp_path / "shared"),
    )

    ending = pod.run(FetchConfig(**stage_base(pod.host), adapter=adapter))

    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert read_manifest(tmp_path / "shared") == sealed.manifest
    wrong = adapter.model_copy(update={"manifest_digest": "sha256:" + "0" * 64, "path": str(tmp_path / "other")})
    ending = pod.run(FetchConfig(**stage_base(pod.host), adapter=wrong))
    assert ending.exit_code == ExitCode.BAD_INPUT
    assert not (tmp_path / "other").exists()


def test_progress_prefers_what_the_training_processes_wrote(tmp_path: Path) -> None:
    board = ProgressBoard("Train", tmp_path / "progress.json")
    board.show(250, "starting")
    server = serve(board, 0)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        first = ProgressReport.model_validate_json(httpx.get(f"{address}/progress", trust_env=False).content)
        assert (first.percent, first.message) == (100, "starting")
        write_report(tmp_path / "progress.json", ProgressReport(stage="Train", percent=10, step=3, loss=0.5))
        second = ProgressReport.model_validate_json(httpx.get(f"{address}/progress", trust_env=False).content)
        assert (second.step, second.loss) == (3, 0.5)
        assert httpx.get(f"{address}/etc/passwd", trust_env=False).status_code == 404
    finally:
        server.shutdown()
        server.server_close()


def test_a_report_says_how_long_it_has_been_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("tunegate_trainer.progress.time.monotonic", lambda: now)
    board = ProgressBoard("Train", tmp_path / "progress.json")
    board.show(10, "hashing")
    assert board.latest().unchanged_seconds == 0
    now += 90
    assert board.latest().unchanged_seconds == 90
    board.show(10, "hashing")
    assert board.latest().unchanged_seconds == 90, "the same again is no progress"
    write_report(tmp_path / "progress.json", ProgressReport(stage="Train", percent=10, step=1))
    assert board.latest().unchanged_seconds == 0
    now += 5
    assert board.latest().unchanged_seconds == 5
    write_report(tmp_path / "progress.json", ProgressReport(stage="Train", percent=10, step=2))
    assert board.latest().unchanged_seconds == 0


def test_a_full_workspace_is_no_unknown_error(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        (small_disk / "filler").write_bytes(bytes(9 * 1024 * 1024))

    end = entry._end_of(full.value, small_disk)

    assert (end.exit_code, end.reason) == (ExitCode.STORAGE_FULL, "StorageFull")
    assert "workspace.size" in end.message


def test_a_full_registry_is_no_verdict_and_no_refusal_of_the_result(pod: Pod, tmp_path: Path, small_disk: Path) -> None:
    with running_registry(tmp_path / "registry", storage=small_disk / "storage") as running:
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        base = stage_base(running.host)
        ending = pod.run(HashConfig(**base, path=str(make_model(tmp_path / "model"))))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.REGISTRY_FULL, "RegistryFull")
    assert "no room is left on its volume" in ending.termination.message
    assert ending.termination.result_digest is None


def test_a_stage_keeps_its_result_until_the_registry_is_back(pod: Pod, tmp_path: Path) -> None:
    port, pod.patience = free_port(), 300.0
    base = stage_base(f"127.0.0.1:{port}")
    stage = pod.start(HashConfig(**base, path=str(make_model(tmp_path / "model"))))
    log = stage.folder / "log"
    while "StageStarted" not in log.read_text():
        time.sleep(0.1)
    time.sleep(6)
    assert stage.process.poll() is None, "the usual tries take 3.5 seconds"
    with running_registry(tmp_path / "registry", port=port):
        assert stage.process.wait(timeout=120) == ExitCode.VERDICT


def test_logs_name_an_error_without_its_text() -> None:
    try:
        raise ValueError("row 7 says: secret")
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "failed", (), sys.exc_info())

    line = json.loads(StageLines("Train").format(record))

    assert (line["message"], line["stage"]) == ("failed", "Train")
    assert line["error"].startswith("ValueError at test_stage_endings.py:")
    assert "secret" not in json.dumps(line)


def test_a_long_last_word_fits_the_kubelet(tmp_path: Path) -> None:
    word = Termination(reason="Refused", message="ü" * 5000, result_digest="sha256:" + "0" * 64)

    entry._write_termination(tmp_path / "word", word)

    assert len((tmp_path / "word").read_bytes()) <= 4096
    assert Termination.model_validate_json((tmp_path / "word").read_bytes()).result_digest == word.result_digest


@pytest.mark.parametrize("error", [MemoryError(), type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")])
def test_memory_errors_are_told_apart(error: Exception, tmp_path: Path) -> None:
    assert entry._end_of(error, tmp_path).exit_code == ExitCode.OUT_OF_MEMORY
    assert entry._end_of(ValueError("secret"), tmp_path).message == "ValueError (see the pod's log)"
