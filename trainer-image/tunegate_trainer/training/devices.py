"""Does the container have the devices that the pool promises? A training must never go on on CPUs at the price of devices.

A broken driver, a node without the runtime class or with its fabric manager down all look the same: torch sees no device,
and would train on CPUs, hundreds of times slower.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from tunegate.api.computepool import ComputePoolSpec, memory_bytes
from tunegate_trainer.endings import DevicesMissing
from tunegate_trainer.training.hardware import DRIVER, driver

LEAST_SHARE = 0.9
"""Of the promised memory: drivers keep some for themselves, and an 80 GB device has 79 GiB."""
PROBE_SECONDS = 300
PROBE = """
import json, torch
cuda = torch.cuda
count = cuda.device_count() if cuda.is_available() else 0
print(json.dumps([cuda.get_device_properties(index).total_memory for index in range(count)]))
"""
"""Run in a process of its own: a process that has asked CUDA for devices keeps memory of them until it ends."""


@dataclass(frozen=True)
class Devices:
    """What torch sees."""

    memory: tuple[int, ...] = ()
    """Bytes of each device."""


def require_devices(pool: ComputePoolSpec, processes: int) -> None:
    """Raise ``DevicesMissing`` unless each of the ``processes`` of this pod has a device as the pool promises it."""
    if pool.device_resource is None:
        return
    missing = missing_devices(pool, processes, visible_devices())
    if missing is not None:
        raise DevicesMissing(missing)


def missing_devices(pool: ComputePoolSpec, processes: int, found: Devices) -> str | None:
    """Return what is missing, or None."""
    promise = f"the pool promises {processes} {pool.device_resource} with {pool.device_memory}"
    known = driver(DRIVER)
    node = f"NVIDIA's driver {known}" if known else "no NVIDIA driver"
    if not found.memory:
        return f"{promise}, torch sees no device ({node} in this pod). Look at driver, device plugin and runtime class of the node"
    if len(found.memory) < processes:
        return f"{promise}, torch sees {len(found.memory)} ({node} in this pod)"
    least = min(found.memory[:processes])
    if least < LEAST_SHARE * memory_bytes(pool.device_memory):
        return f"{promise}, a device has {least / 2**30:.1f} GiB: correct deviceMemory or nodeSelector of the pool"
    return None


def visible_devices() -> Devices:
    """Return what torch sees in a process of its own; a process that fails or hangs sees nothing."""
    try:
        ended = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_SECONDS, check=True, text=True
        )
        return Devices(tuple(int(size) for size in json.loads(ended.stdout.splitlines()[-1])))
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return Devices()
