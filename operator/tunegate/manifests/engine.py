"""How vLLM is started. One place, so that baseline, evaluation and serving run the engine in the same way."""

from __future__ import annotations

import math
from typing import Any

from tunegate.api.computepool import memory_bytes
from tunegate.api.modelserver import DataType, EngineProfile, Quantization
from tunegate.manifests.pods import SCRATCH

VLLM = ["python3", "-m", "vllm.entrypoints.openai.api_server"]
"""Not the console script `vllm`: the CPU build of 0.32 registers no distribution of that name and it fails there."""

LAST_SECONDS = 20
"""Of an engine that was told to end. Nothing is being answered any more then."""
STOPPABLE = f"""\
"$@" & engine=$!
trap 'kill -TERM "$engine"; {{ sleep {LAST_SECONDS}; kill -KILL "$engine"; }} 2>/dev/null &' TERM INT
wait "$engine"; code=$?
while kill -0 "$engine" 2>/dev/null; do wait "$engine"; code=$?; done
exit "$code"
"""
"""Runs vLLM as a child of the container's first process, and ends it when it does not end by itself.

The kernel drops a SIGTERM for a first process that has no handler yet. vLLM imports for most of a minute before it has one,
and has one that is not heard while it waits for its engine core (0.32), so a pod deleted in that time would keep its device
until the grace period is over.
"""

KNOWN_CLASSES = "/opt/vllm-cache"
"""Where the trainer image (trainer-image/prepare_cpu_image.py) holds what vLLM would find out about common model classes."""

WARM = f"""\
cache="${{VLLM_CACHE_ROOT:-$HOME/.cache/vllm}}"
if [ -d {KNOWN_CLASSES} ]; then mkdir -p "$cache" && cp -R {KNOWN_CLASSES}/. "$cache"; fi
"""
"""A copy, because the image's files are read-only and vLLM keeps more there: classes that it did not know, compiled kernels.
An image without the directory, or a copy that fails, costs the time of a cold start."""

DATA_TYPES: dict[DataType, str] = {"BFloat16": "bfloat16", "Float16": "float16", "Float32": "float32"}
QUANTIZATIONS: dict[Quantization, str | None] = {"None": None, "FP8": "fp8"}
"""The profile's words in vLLM's."""

ENGINE_DEVICES = 1
"""A profile has no tensor parallelism: more devices would be held and stand idle."""

GUARDS = ["--disable-fastapi-docs", "--disable-uvicorn-access-log", "--no-enable-log-requests"]
"""No interactive documentation, and neither paths nor prompts in the log. Request bodies are data."""


def engine_command(uds: str | None = None) -> list[str]:
    """Return the container's command; vLLM's arguments (``engine_args``) follow it.

    vLLM does not take over the socket of a process that was killed, so a restart needs ``uds`` gone.
    """
    clear = 'rm -f "$0"\n' if uds else ""
    return ["/bin/sh", "-c", clear + WARM + STOPPABLE, uds or "engine", *VLLM]


def engine_args(
    profile: EngineProfile,
    model_path: str,
    served_name: str,
    *,
    lora_modules: list[tuple[str, str]] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    uds: str | None = None,
    max_cpu_loras: int | None = None,
) -> list[str]:
    """Return vLLM's arguments for ``profile``.

    ``lora_modules`` are pairs of served name and folder, loaded once at the start. With ``uds`` the engine listens on that Unix
    socket and opens no TCP port. ``max_cpu_loras``: adapters that it holds at once, where they come and go. LoRA support is on even
    without adapters: the base model has to answer through the same kernels as the tuned one.
    """
    args = [
        f"--model={model_path}",
        f"--served-model-name={served_name}",
        f"--dtype={DATA_TYPES[profile.dtype]}",
        f"--max-model-len={profile.max_model_len}",
        "--enable-lora",
        f"--max-lora-rank={profile.max_lora_rank}",
        f"--max-loras={profile.max_loras}",
    ]
    if max_cpu_loras is not None:
        args.append(f"--max-cpu-loras={max(max_cpu_loras, profile.max_loras)}")
    if (quantization := QUANTIZATIONS[profile.quantization]) is not None:
        args.append(f"--quantization={quantization}")
    if profile.enforce_eager:
        args.append("--enforce-eager")
    if profile.device == "CPU":
        args.append("--distributed-executor-backend=uni")
    args += GUARDS
    args += [f"--uds={uds}"] if uds else [f"--host={host}", f"--port={port}"]
    if lora_modules:
        args += ["--lora-modules", *(f"{name}={path}" for name, path in lora_modules)]
    return args


def engine_env(profile: EngineProfile, *, threads: int = 2, loads: bool = False) -> list[dict[str, Any]]:
    """Return the environment of the engine's container. ``threads`` is for arithmetic on the CPU.

    ``loads``: whether adapters come and go while it runs. Whoever reaches such an engine can have any folder answer under any name,
    so it may only listen on a Unix socket that nobody but the gateway sees (docs/decisions/0014).
    """
    values = {
        "HOME": SCRATCH,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1" if loads else "0",
        "VLLM_SERVER_DEV_MODE": "0",
        "OMP_NUM_THREADS": str(threads),
    }
    if profile.enforce_eager:
        # A request for log-probabilities runs a function under torch.compile even in eager mode; without a C++ compiler
        # in the image that ends the engine (InvalidCxxCompiler).
        values["TORCHDYNAMO_DISABLE"] = "1"
    if profile.device == "CPU":
        # vLLM reads whole GiB; the thread binding "all" crashes 0.32 where the CPU set is not the machine's.
        values["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, math.ceil(memory_bytes(profile.kv_cache_memory) / 2**30)))
        values["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        values["OMP_WAIT_POLICY"] = "PASSIVE"
        # Worker and engine core in one process: between two they talk by spinning on shared memory, which takes one of
        # two cores away from the arithmetic. vLLM keeps `uni` on a CPU only with this switch.
        values["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return [{"name": name, "value": value} for name, value in values.items()]
