"""Renders the chart with the real helm."""

from __future__ import annotations

import json
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import program

CHART = Path(__file__).resolve().parents[2] / "charts/tunegate"
DIGEST = "sha256:" + "0" * 64
SYSTEM = "tunegate-system"
Json = dict[str, Any]
MINIMAL: Json = {
    "images": {name: f"registry.example/{name}@{DIGEST}" for name in ("operator", "trainer", "mlflow", "registry")},
    "governedNamespaces": [{"name": "team-a", "policy": "two-person"}, {"name": "team-b", "policy": "one-person"}],
}


def values(**changes: Any) -> Json:
    """The smallest good values with whole top-level parts replaced."""
    return {**MINIMAL, **changes}


def run(arguments: list[str], content: Json) -> subprocess.CompletedProcess[str]:
    command = [program("helm"), *arguments, "--values", "-"]
    return subprocess.run(command, input=json.dumps(content), capture_output=True, text=True, check=False)


def render(content: Json) -> list[Json]:
    """Return the objects of the chart with these values."""
    return [obj for obj in yaml.load_all(_rendered(json.dumps(content)), yaml.CSafeLoader) if obj]


@lru_cache(maxsize=32)
def _rendered(content: str) -> str:
    done = run(["template", "tunegate", str(CHART), "--namespace", SYSTEM], json.loads(content))
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(content: Json) -> str:
    """Return what helm says to values that it must refuse."""
    done = run(["template", "tunegate", str(CHART), "--namespace", SYSTEM], content)
    assert done.returncode != 0, "helm accepted these values"
    return done.stderr


def one(objects: list[Json], kind: str, name: str, namespace: str | None = None) -> Json:
    """Return the one object of that kind and name."""
    found = [
        obj
        for obj in objects
        if (obj["kind"], obj["metadata"]["name"]) == (kind, name)
        and namespace in {None, obj["metadata"].get("namespace")}
    ]
    assert len(found) == 1, f"{len(found)} objects {kind} {name}"
    return found[0]


def pod_specs(objects: list[Json]) -> list[tuple[str, Json]]:
    """Return name and pod spec of every workload."""
    return [
        (obj["metadata"]["name"], obj["spec"]["template"]["spec"])
        for obj in objects
        if obj["kind"] in {"Deployment", "StatefulSet", "Job"}
    ]


def environment(objects: list[Json]) -> dict[str, str]:
    """Return the operator's environment."""
    container = one(objects, "Deployment", "tunegate-operator")["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry["value"] for entry in container["env"]}
