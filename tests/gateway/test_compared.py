"""The benchmark of the gateway runs, with the instant engine and without the programs that it is compared with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_measures_what_it_finds(tmp_path: Path) -> None:
    output = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "benchmarks.gateway.compare", "--rounds", "1", "--idle", "20", "--seconds", "0.2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [*command, "--nginx", "", "--litellm", "", "--output", str(output)], cwd=ROOT, env=environment, capture_output=True,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(output.read_text())
    assert found["speed"].keys() == {"direct", "gateway"}
    assert all(numbers["tokens_per_s"] > 0 for numbers in found["speed"].values())
    assert found["idle"]["gateway"]["held_mb"] > 0
    assert "| gateway |" in done.stdout
