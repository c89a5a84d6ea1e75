"""What it was trained on: devices, driver and CUDA, so that a run can be told from one on other hardware later."""

from __future__ import annotations

import re
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/version")
"""The kernel's own word: it needs neither a tool nor a right in the container."""
_version_of = re.compile(r"^NVRM version:.*?Kernel Module\s+(?:for \S+\s+)?([0-9][0-9.]*)", re.MULTILINE).search


def hardware() -> dict[str, str]:
    """Return devices, driver and CUDA of this node; empty where there is no device."""
    import torch

    if not torch.cuda.is_available():
        return {}
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = {"devices": ", ".join(devices), "cuda": str(torch.version.cuda), "driver": driver(DRIVER)}
    return {name: text for name, text in found.items() if text}


def driver(file: Path) -> str:
    """Return the version of NVIDIA's kernel driver; empty where it cannot be told."""
    try:
        found = _version_of(file.read_text())
    except OSError:
        return ""
    return found[1] if found else ""
