"""The driver is read from the kernel's own text, in both forms that NVIDIA has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate_trainer.training.hardware import driver

CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc 12\n"
)
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.90.07  Release Build  (dvs-builder@host)\n"
    "GCC version:  gcc version 12.3.0\n"
)


@pytest.mark.parametrize(
    ("text", "version"), [(CLOSED, "535.183.01"), (OPEN, "550.90.07"), ("", ""), ("no driver", "")]
)
def test_version_of_the_driver(text: str, version: str, tmp_path: Path) -> None:
    file = tmp_path / "version"
    file.write_text(text)
    assert driver(file) == version


def test_node_without_a_driver_has_none(tmp_path: Path) -> None:
    assert driver(tmp_path / "version") == ""
