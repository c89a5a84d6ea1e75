"""Run once while the CPU image is built: fixes vLLM, and does what every start of an engine would otherwise do again.

    python prepare_cpu_image.py DIRECTORY LORA_ON_CPU

vLLM learns what a model class can do by importing it in a second Python process (8 s), and keeps the answer in a cache that is
empty in a fresh pod. The answers for common classes are written to DIRECTORY; ``tunegate.manifests.engine`` starts engines
with a copy. vLLM compares each with the hash of the class's source, and inspects classes that are not here as before.

Python's garbage collector walks all young objects after every 700 new ones. Imports of thousands of modules make objects that
stay, so the walks find nothing: 3.3 of 14.8 CPU seconds when vLLM is imported, 0.8 of 10.9 with the thresholds below, and the same
peak of memory. A ``.pth`` file sets them for every process of the image.

LORA_ON_CPU holds functions of ours that take the place of vLLM's; it says why.
"""

from __future__ import annotations

import compileall
import importlib.util
import inspect
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

CLASSES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Phi3ForCausalLM",
    "GraniteForCausalLM",
)
THRESHOLDS = (100_000, 50, 1000)
LORA_OPERATIONS = "vllm.lora.ops.torch_ops.lora_ops"
REPLACED = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")


def replace_lora_operations(replacement: Path) -> None:
    """Append our operations to vLLM's module, if those that they replace take the same arguments."""
    from vllm.lora.ops.torch_ops import lora_ops

    ours: Any = _load(replacement)
    for name in REPLACED:
        theirs = inspect.signature(getattr(lora_ops, name))
        if list(theirs.parameters) != list(inspect.signature(getattr(ours, name)).parameters):
            sys.exit(f"vLLM's {name} takes other arguments than {replacement} expects: {theirs}")
    module = Path(lora_ops.__file__)
    module.write_text(f"{module.read_text()}\n\n{replacement.read_text()}")
    compileall.compile_file(module, quiet=1, force=True)


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_model_infos(cache: Path) -> None:
    """Inspect the classes, all in this process, so that what they import is imported once."""
    from vllm.model_executor.models import registry

    def here(function: Any) -> Any:
        return function()

    registry._run_in_subprocess = here
    for name in CLASSES:
        model = registry.ModelRegistry.models[name]
        model.inspect_model_cls()
        if not (cache / "modelinfos" / model._get_cache_filename()).is_file():
            sys.exit(f"vLLM kept nothing about {name}")


def write_thresholds() -> None:
    """Make Python set the collector's thresholds when it starts."""
    line = f"import gc; gc.set_threshold{THRESHOLDS}\n"
    (Path(sysconfig.get_path("purelib")) / "collector_thresholds.pth").write_text(line)


def main() -> None:
    """Do all three; whatever does not succeed fails the build."""
    cache = Path(sys.argv[1])
    os.environ["VLLM_CACHE_ROOT"] = str(cache)
    replace_lora_operations(Path(sys.argv[2]))
    write_thresholds()
    write_model_infos(cache)


if __name__ == "__main__":
    main()
