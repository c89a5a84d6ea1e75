"""SIGTERM at any moment of a stage is a stop and never a verdict: the moments are calls of functions, chosen by a seed.

A moment is repeated by its seed, whatever the machine's speed: the signal is sent when a function is called for the n-th time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.support.model_folder import make_adapter, make_model
from tests.support.stage_process import REPOSITORY, Pod, stage_base
from tests.support.validation import ROWS, make_config
from tunegate import digests
from tunegate.api.stage.configs import AdapterInput, FetchConfig, HashConfig, StageConfigBase
from tunegate.api.stage.ends import ExitCode, Termination
from tunegate.registry.adapters import push_adapter
from tunegate.registry.client import RegistryClient
from tunegate_trainer import entry

SEED = int(os.environ.get("TUNEGATE_STOP_SEED", "20"))
MOMENTS = 12
Chosen = Callable[[FrameType], bool]


class Moments:
    """Counts the chosen calls of the main thread while the stage handles SIGTERM, and sends it at the one of a number."""

    def __init__(self, chosen: Chosen, at: int = 0) -> None:
        self.count = 0
        self._chosen = chosen
        self._at = at

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        if type(getattr(handler, "__self__", None)).__name__ == "StopRequest" and self._chosen(frame):
            self.count += 1
            if self.count == self._at:
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def handler_and_trace() -> Iterator[None]:
    """Give the test's process back what a stage changes in it."""
    before, trace = signal.getsignal(signal.SIGTERM), sys.gettrace()
    yield
    sys.settrace(trace)
    signal.signal(signal.SIGTERM, before)


def run(pod: Pod, config: StageConfigBase, moments: Moments) -> tuple[int, Termination]:
    folder, arguments = pod.prepare(config)
    sys.settrace(moments)
    try:
        code = entry.main(arguments)
    finally:
        sys.settrace(None)
    return code, Termination.model_validate_json((folder / "termination").read_bytes())


def anywhere(_frame: FrameType) -> bool:
    return True


def in_a_template(frame: FrameType) -> bool:
    return frame.f_code.co_filename == "<template>"


def stop_at_moments(pod: Pod, make: Callable[[int], StageConfigBase], chosen: Chosen, moments: int = MOMENTS) -> None:
    """Run a stage to its end, then stop it at moments in between. The first run loads libraries, which the others find."""
    run(pod, make(-1), Moments(chosen))
    whole = Moments(chosen)
    code, _ = run(pod, make(0), whole)
    assert (code, whole.count > moments) == (ExitCode.VERDICT, True)
    stopped = 0
    for at in sorted(random.Random(SEED).sample(range(1, whole.count + 1), moments)):  # noqa: S311
        stop = Moments(chosen, at)
        code, word = run(pod, make(at), stop)
        came = stop.count >= at
        stopped += came
        expected = (ExitCode.PREEMPTED, "Preempted") if came else (ExitCode.VERDICT, word.reason)
        assert (code, word.reason) == expected, f"call {at} of {whole.count}, seed {SEED}"
    assert stopped > moments / 2


def test_a_base_model_is_never_judged_by_a_stop(pod: Pod, tmp_path: Path) -> None:
    config = HashConfig(**stage_base(pod.host), path=str(make_model(tmp_path / "model")))
    stop_at_moments(pod, lambda _: config, anywhere)


def test_a_download_of_an_adapter_is_stopped(pod: Pod, tmp_path: Path) -> None:
    with RegistryClient(pod.host, plain_http=True) as client:
        sealed = push_adapter(client, f"{REPOSITORY}/adapter", make_adapter(tmp_path / "made"))

    def fetching(number: int) -> FetchConfig:
        adapter = AdapterInput(
            repository=f"{REPOSITORY}/adapter", digest=sealed.digest, manifest=sealed.manifest,
            manifest_digest=digests.manifest_digest(sealed.manifest), path=str(tmp_path / f"shared-{number}"),
        )  # fmt: skip
        return FetchConfig(**stage_base(pod.host), adapter=adapter)

    stop_at_moments(pod, fetching, anywhere)


@pytest.mark.model
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chosen", [anywhere, in_a_template])
def test_data_are_never_judged_by_a_stop(chosen: Chosen, base_model: Path, pod: Pod) -> None:
    config = make_config(pod.folder, base_model, ROWS[:20]).model_copy(update=stage_base(pod.host))
    stop_at_moments(pod, lambda _: config, chosen, moments=4)
