"""Mounts below a directory of ours."""

from __future__ import annotations

from pathlib import Path

from tunegate_local.command import run


def below(directory: Path) -> list[Path]:
    """Mount points below a directory, the deepest first."""
    prefix = f"{directory}/"
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point.startswith(prefix):
            found.append(Path(point))
    return found[::-1]


def remove_below(directory: Path) -> None:
    for point in below(directory):
        run(["umount", "--lazy", point])
