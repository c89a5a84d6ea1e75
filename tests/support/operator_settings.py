"""The environment of an operator's process that a test starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PREFIX = "TUNEGATE_"
ROOT = Path(__file__).parents[2]


def operator_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with ``settings``, by name without the prefix.

    Variables of the tests themselves begin alike and are no settings of an operator, which refuses what it does not know.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    python = {"PYTHONPATH": f"{ROOT}/operator:{ROOT}/trainer-image"}
    return inherited | python | {f"{PREFIX}{name}": value for name, value in settings.items()}
