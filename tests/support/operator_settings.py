"""Settings of an operator that a test starts. Variables of the tests begin alike, and an operator refuses what it does not know."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tunegate.environment import PREFIX

ROOT = Path(__file__).parents[2]


def operator_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with ``settings``, by name without the prefix, and no other settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    python = {"PYTHONPATH": f"{ROOT}/operator:{ROOT}/trainer-image"}
    return inherited | python | {f"{PREFIX}{name}": value for name, value in settings.items()}


def set_settings(monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]) -> None:
    """Give this process ``settings``, by name without the prefix, and no other settings."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
