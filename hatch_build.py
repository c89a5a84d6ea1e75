"""Writes into the wheel which commit it was built from, for `tunegate version`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "tunegate/commit.txt"


class CommitHook(BuildHookInterface[Any]):
    """Adds ``NAME``, which a checkout does not have."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file below `dist`, where nothing is versioned, and add it to the wheel."""
        folder = Path(self.root)
        head = _git(folder, "rev-parse", "HEAD")
        if not head:
            return  # made from an archive: nobody can tell
        changed = "+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
        place = folder / "dist/commit.txt"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"{head}{changed}\n")
        build_data["force_include"][str(place)] = NAME


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
