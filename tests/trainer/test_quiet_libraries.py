"""A training's log does not begin with advice of libraries about parts that no training uses."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.model


@pytest.mark.parametrize("module", ["bitsandbytes", "torch.utils.flop_counter", "tunegate_trainer.training.start"])
def test_unused_kernels_are_not_warned_of(module: str) -> None:
    command = [sys.executable, "-c", f"import tunegate_trainer.training, {module}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kernels" not in done.stdout + done.stderr
