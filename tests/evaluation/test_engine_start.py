"""An engine starts with what the image knows about common model classes, and finds out about others as before."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunegate.manifests.engine import VLLM, engine_command

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

LOOK_UP = """
import json, sys
from vllm.model_executor.models import registry
asked = []
registry._run_in_subprocess = lambda function: asked.append(1) or function()
for name in sys.argv[1:]:
    registry.ModelRegistry.models[name].inspect_model_cls()
print(json.dumps(len(asked)))
"""


def inspected(home: Path, *classes: str) -> int:
    """Return for how many of the classes vLLM, started as in a pod, had to import the class to know it."""
    shell = engine_command()[: -len(VLLM)]
    done = subprocess.run(
        [*shell, sys.executable, "-c", LOOK_UP, *classes],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    return int(json.loads(done.stdout.splitlines()[-1]))


def test_common_classes_are_known_and_others_are_learned_once(tmp_path: Path) -> None:
    assert inspected(tmp_path, "LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma3ForCausalLM") == 0
    assert inspected(tmp_path, "LlamaForCausalLM", "GPT2LMHeadModel") == 1
    assert inspected(tmp_path, "GPT2LMHeadModel") == 0, "what the engine found out is not kept: is its cache writable?"


def test_the_collector_does_not_walk_what_imports_make() -> None:
    assert gc.get_threshold()[0] == 100_000
