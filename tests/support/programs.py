"""Programs that the tests start: kubectl, helm, uv and the registry, and servers that are built from their Go modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache" / "tunegate")))


def program(name: str) -> str:
    """Return the path of kubectl, helm, uv or the registry: the local cluster's own, else the machine's."""
    own = CACHE / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"no {name}: start the local cluster once (`make cluster-up`), which fetches it"
    return found


def installed(requirement: str, newest: str) -> Path:
    """Return the folder of programs of a Python package, `name==version`, in an environment of its own: its requirements,
    none newer than the day ``newest``, do not fit ours."""
    target = CACHE / "tools" / requirement.replace("==", "-")
    if not (target / "installed").exists():
        uv = program("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", target], check=True)
        where: list[str | Path] = ["--quiet", "--python", target / "bin/python", "--exclude-newer", newest]
        subprocess.run([uv, "pip", "install", *where, requirement], check=True)
        (target / "installed").touch()
    return target / "bin"


def built(module: str) -> Path:
    """Return the program of a Go module, `path@version`; built once, a minute or two, with the local cluster's Go caches."""
    path, _, version = module.partition("@")
    target = CACHE / "bin" / f"{path.rpartition('/')[2]}-{version.removeprefix('v')}"
    if not target.exists():
        assert shutil.which("go"), f"no program {target.name}: install Go 1.25 or newer, which builds it"
        place = CACHE / "go" / "tests"
        environment = _go_environment() | {"GOBIN": str(place), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", "-trimpath", "-ldflags", "-s -w", module], env=environment, check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        (place / path.rpartition("/")[2]).rename(target)
    return target


def sources(module: str) -> Path:
    """Return the folder with the files of a Go module, `path@version`."""
    assert shutil.which("go"), f"no files of {module}: install Go 1.25 or newer, which fetches them"
    command = ["go", "mod", "download", "-json", module]
    found = subprocess.run(command, env=_go_environment(), check=True, capture_output=True, text=True, cwd="/")
    return Path(json.loads(found.stdout)["Dir"])


def _go_environment() -> dict[str, str]:
    return {
        **os.environ, "GOFLAGS": "-buildvcs=false -modcacherw",
        "GOCACHE": str(CACHE / "go" / "build"), "GOMODCACHE": str(CACHE / "go" / "modules"),
    }  # fmt: skip
