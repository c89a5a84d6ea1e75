"""Other versions of the operator to lead in turn with the one of the working tree.

The next version is derived from the working tree by small changes, each of a kind that a later version may make: so it is the
same on every clone, however shallow. The previous one is the commit before, where the clone has it.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
LATER_PHASE, LATER_TYPE, LATER_FIELD = "Rehearsing", "AdapterExported", "laterLimit"
CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    # A further field in spec and status of a server, and one in the document that its pods read.
    "api/modelserver.py": (
        ("    restarted_at: Time | None = None\n", "    restarted_at: Time | None = None\n    later_limit: int | None = None\n"),
        ('    endpoint: ShortText | None = None\n', '    endpoint: ShortText | None = None\n    later_note: ShortText = ""\n'),
    ),
    "reconcile/modelserver/status.py": (("        base_volume=base_volume(seen),\n", '        base_volume=base_volume(seen),\n        later_note="said by the next version",\n'),),
    "api/serving.py": (("    tool_parser: str | None = None\n", "    tool_parser: str | None = None\n    later: str | None = None\n"),
                       ("    revision: int = 0\n", '    revision: int = 0\n    later: str = "routes"\n')),
    "reconcile/modelserver/planner.py": (
        ("        tool_parser=server.spec.tool_parser,\n", '        tool_parser=server.spec.tool_parser,\n        later="x",\n'),
        # A record of another type.
        ("    found = []\n    for pod in seen.strangers:\n",
         f'    found = [AuditEntry("{LATER_TYPE}", OPERATOR, subject, "once", {{"to": "elsewhere"}})]\n    for pod in seen.strangers:\n'),
    ),
    # Containers are written otherwise, in servers and in attempts.
    "manifests/engine.py": (('GUARDS = ["--disable-fastapi-docs", ', 'GUARDS = ["--a-later-flag", "--disable-fastapi-docs", '),),
    "manifests/pods.py": (('"fsGroupChangePolicy": "OnRootMismatch"', '"fsGroupChangePolicy": "Always"'),),
    # Another phase of a job.
    "api/finetunejob/status.py": (("JobPhase = Literal[\n", f'JobPhase = Literal[\n    "{LATER_PHASE}",\n'),),
    # The ledger knows a further type of records. What is new of a record is in its payload: docs/decisions/0012.
    "api/auditrecord.py": (("EventType = Literal[\n", f'EventType = Literal[\n    "{LATER_TYPE}",\n'),),
}  # fmt: skip
"""File below `operator/tunegate` -> what is replaced, once each, and by what."""


@dataclass(frozen=True)
class Version:
    """An operator that can be started."""

    name: str
    source: Path
    """The folder that holds the package `tunegate`."""
    crds: Path
    settings: dict[str, str]
    """What its chart says otherwise, by name without the prefix."""


def working_tree() -> Version:
    """Return the version of this very checkout."""
    return Version("this", ROOT / "operator", ROOT / "crds", {})


def next_version(folder: Path) -> Version:
    """Write the version that may come after this one into ``folder``."""
    source = folder / "operator"
    shutil.copytree(ROOT / "operator", source, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in CHANGES.items():
        path = source / "tunegate" / name
        text = path.read_text()
        for old, new in changes:
            assert text.count(old) == 1, (
                f"{name}: what the next version changes is there {text.count(old)} times: {old!r}"
            )
            text = text.replace(old, new)
        path.write_text(text)
    crds = folder / "crds"
    command = [sys.executable, "-m", "tunegate.api.crd", "--write", str(crds), "--chart", str(folder / "chart")]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=ROOT)
    images = {f"{name}_IMAGE": f"registry.invalid/{name.lower()}@sha256:{'2' * 64}" for name in ("OPERATOR", "TRAINER")}
    return Version("next", source, crds, images)


class NoPredecessor(Exception):
    """The message says why there is no earlier version that this one could take turns with."""


def previous_commit(folder: Path) -> Version:
    """Write the operator of the commit before into ``folder``.

    Raises ``NoPredecessor`` where the clone does not have it, and where this version took fields away that it writes: no
    cluster can be upgraded across that, and after the first release no version may do it.
    """
    command = ["git", "-C", str(ROOT), "archive", "HEAD~1", "operator", "crds"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise NoPredecessor("this clone has no commit before HEAD (git fetch --unshallow brings it)")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    gone = sorted(_fields(folder / "crds") - _fields(ROOT / "crds"))
    if gone:
        raise NoPredecessor(f"the commit before has fields that are no more: {', '.join(gone[:5])}")
    return Version("previous", folder / "operator", folder / "crds", {})


def _fields(crds: Path) -> set[str]:
    """Return the paths of all fields of the kinds."""
    found: set[str] = set()

    def walk(schema: Any, place: str) -> None:
        found.add(place)
        for name, inner in schema.get("properties", {}).items():
            walk(inner, f"{place}.{name}")
        for name in ("items", "additionalProperties"):
            if isinstance(schema.get(name), dict):
                walk(schema[name], f"{place}[]")

    for file in crds.glob("*.yaml"):
        spec = yaml.safe_load(file.read_text())["spec"]
        for version in spec["versions"]:
            walk(version["schema"]["openAPIV3Schema"], f"{version['name']}/{spec['names']['kind']}")
    return found
