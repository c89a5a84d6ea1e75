"""The Debian root file system of the base image, made by debootstrap from the mirror that this machine uses."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tunegate_local import digests, settings
from tunegate_local.command import run, run_logged
from tunegate_local.progress import step

SUITE = "bookworm"
# Count this up when the way the root file system is made changes.
LAYOUT = "1"
PACKAGES = ("python3", "ca-certificates", "libgomp1", "libnuma1")
# Not read by any program in the image; licence texts in doc/*/copyright stay.
DROPPED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/man", "usr/share/locale", "usr/share/info", "var/log")


def ensure(context: Path) -> None:
    """Write rootfs.tar into a build context unless it is there for the same packages."""
    key = digests.of([], [LAYOUT, SUITE, *PACKAGES, *DROPPED])
    archive, stamp = context / "rootfs.tar", context / "rootfs.key"
    if archive.exists() and stamp.exists() and stamp.read_text() == key:
        return
    context.mkdir(parents=True, exist_ok=True)
    what = "making the Debian root file system of all images"
    with step(what, "1 minute"), tempfile.TemporaryDirectory(dir=context) as place:
        root = Path(place) / "rootfs"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
        advice = "check that apt-get can reach its Debian mirror"
        run_logged([*command, *_mirror()], settings.LOGS / "debootstrap.log", next_step=advice)
        _shrink(root)
        run(["tar", "--create", "--numeric-owner", "--file", archive, "--directory", root, "."])
    stamp.write_text(key)


def _mirror() -> list[str]:
    """The machine's own mirror of this suite; none given where it has none, and debootstrap takes its default."""
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in shown.splitlines():
        release, component, address = line.split(maxsplit=2)
        if (release, component) == (SUITE, "main"):
            return [address]
    return []


def _shrink(root: Path) -> None:
    for name in DROPPED:
        directory = root / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
    for path in (root / "usr/share/doc").glob("*/*"):
        if path.name != "copyright":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
