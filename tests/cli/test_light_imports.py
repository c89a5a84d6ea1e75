"""The command line starts without the libraries of operator and stages: who installs `tunegate[cli]` has none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ABSENT = ("kubernetes", "kopf", "aiohttp", "mlflow", "numpy", "torch", "transformers", "tokenizers", "jinja2")
PROGRAM = f"""
import sys
sys.modules |= dict.fromkeys({ABSENT!r})
from tunegate.cli.main import parser
parser()
"""


def test_no_command_needs_a_library_of_the_operator_or_of_a_stage_to_start() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "operator")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
