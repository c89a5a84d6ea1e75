"""Scoring the answers' positions alone changes no loss and no weight: with accumulation, in one process and in two."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.stage_process import ROOT
from tests.trainer import answer_losses

pytestmark = [pytest.mark.model, pytest.mark.timeout(1800)]


def trained_twice(model: Path, folder: Path, processes: int) -> dict[str, Any]:
    report = folder / "report.json"
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    launch += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    command = [*launch, str(ROOT / "tests/trainer/answer_losses.py"), str(model), str(report)]
    path = ":".join(str(ROOT / place) for place in ("operator", "trainer-image"))
    done = subprocess.run(
        ["env", f"PYTHONPATH={path}", *command], capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_losses_and_weights_are_those_of_all_positions(small_model: Path, tmp_path: Path, processes: int) -> None:
    found = trained_twice(small_model, tmp_path, processes)
    every, answers = found["every"], found["answers"]

    assert len(answers["losses"]) == answer_losses.STEPS
    assert answers["world"] == processes
    for name in ("losses", "evaluation", "accuracy", "tokens"):
        assert answers[name] == pytest.approx(every[name], rel=1e-6), name
    assert answers["adapter"] == pytest.approx(every["adapter"], rel=1e-6)
    assert answers["losses"][0] != answers["losses"][-1], "nothing was learned"
    assert answers["scored"] < 0.6 * every["scored"]
    # One step of all rows in parts: the untrained model's loss, weighted by tokens and not by rows or parts.
    assert found["whole"] == pytest.approx(found["plain"], rel=1e-4)


def test_trl_decides_where_it_is_told_otherwise() -> None:
    """One decision in `add_fused_lm_head`, and the kernels' choice apart from it."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    assert inspect.getsource(utils).count("_use_triton(") == 1
    assert "compact = _use_triton(hidden_states.device)" in inspect.getsource(utils.add_fused_lm_head)
    assert chunked_logprob._use_triton.__module__ == "trl.kernels.chunked_logprob"
