"""Build the wheel, and for each system the single file `tunegate`, which runs on every Python of ``PYTHONS``: `make cli`.

The file is a zip application of the standard library (PEP 441): each content is in it once, under its digest. A file for all
systems would have 52 MB: cryptography, pydantic-core, msgspec and rfc3161-client are compiled for each. Rejected: shiv, whose
files are for one Python only, and pex, which took minutes for what uv does in seconds from its cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOOTSTRAP, REQUIREMENTS = ROOT / "packaging/bootstrap.py", ROOT / "packaging/cli.txt"
SYSTEMS = {
    "linux-x86_64": "x86_64-manylinux_2_28",
    "linux-aarch64": "aarch64-manylinux_2_28",
    "darwin-aarch64": "aarch64-apple-darwin",
}
"""As the file calls a system, and as uv does. cryptography has no wheels for macOS on Intel any more."""
PYTHONS = ("3.11", "3.12", "3.13")
MOST_BYTES = 40_000_000
NOT_RUN = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Of an installed package, what tells installers something and differs between machines."""
TIME = (2020, 1, 1, 0, 0, 0)


def uv() -> str:
    """Return the program."""
    return shutil.which("uv") or str(Path.home() / ".cache/tunegate/uv/bin/uv")


def build(output: Path, systems: Sequence[str] = tuple(SYSTEMS)) -> list[Path]:
    """Write the wheel and a file for each system into a folder, and return the files.

    Raises ``subprocess.CalledProcessError`` when uv fails and ``ValueError`` for a file above ``MOST_BYTES``.
    """
    program = uv()
    subprocess.run([program, "build", "--quiet", "--wheel", "--out-dir", output, ROOT], check=True)
    wheel = max(output.glob("tunegate-*.whl"), key=lambda found: found.stat().st_mtime)
    files = [output / f"tunegate-{system}" for system in systems]
    for file, system in zip(files, systems, strict=True):
        with tempfile.TemporaryDirectory() as place:
            targets = [f"{system}-{python}" for python in PYTHONS]
            _write(file, {target: _installed(program, wheel, target, Path(place)) for target in targets})
        if (size := file.stat().st_size) > MOST_BYTES:
            raise ValueError(f"{file} has {size} bytes, and at most {MOST_BYTES} are allowed")
    return files


def _installed(program: str, wheel: Path, target: str, place: Path) -> Path:
    """Return a folder with all packages as they are on another system."""
    system, _, python = target.rpartition("-")
    folder = place / target
    options = ["--quiet", "--no-config", "--no-deps", "--only-binary", ":all:", "--target", str(folder)]
    options += ["--python-version", python, "--python-platform", SYSTEMS[system]]
    for what in (["--require-hashes", "--requirements", str(REQUIREMENTS)], [str(wheel)]):
        subprocess.run([program, "pip", "install", *options, *what], check=True)
    return folder


def _write(file: Path, folders: dict[str, Path]) -> None:
    manifest: dict[str, dict[str, str]] = {}
    contents: dict[str, bytes] = {}
    for target, folder in folders.items():
        manifest[target] = {}
        for path in _files(folder):
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            manifest[target][path.relative_to(folder).as_posix()] = digest
            contents[digest] = content
    with file.open("wb") as stream:
        stream.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            _add(archive, "__main__.py", BOOTSTRAP.read_bytes())
            _add(archive, "files.json", json.dumps(manifest, sort_keys=True).encode())
            for digest in sorted(contents):
                _add(archive, digest, contents[digest])
    file.chmod(0o755)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and path.name not in NOT_RUN and inside[0] != "bin" and "__pycache__" not in inside:
            yield path


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, TIME), content, zipfile.ZIP_DEFLATED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="default: each")
    options = parser.parse_args(arguments)
    for file in build(options.output, options.system or tuple(SYSTEMS)):
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, for Python {', '.join(PYTHONS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
