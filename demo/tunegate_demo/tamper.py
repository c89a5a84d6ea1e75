"""Flip one byte of the approved adapter where it is stored, and show that serving finds it.

Needs a cluster whose administrator can mount the registry's volume, as a malicious one could.
"""

from __future__ import annotations

import json
import time

from tunegate_demo.failure import DemoFailure
from tunegate_demo.inputs import SYSTEM, TEAM
from tunegate_demo.kubectl import Kubectl

POD = "byte-flipper"
REGISTRY_CLAIM = "tunegate-registry"
FLIP = """
import pathlib, sys
digest = sys.argv[1]
path = next(pathlib.Path("/registry").rglob(f"blobs/sha256/{digest[:2]}/{digest}/data"))
with path.open("r+b") as stream:
    stream.seek(path.stat().st_size // 2)
    byte = stream.read(1)[0]
    stream.seek(-1, 1)
    stream.write(bytes([byte ^ 1]))
"""


def weights_blob(admin: Kubectl, served_name: str) -> str:
    """Return the SHA-256 (hex) of the served adapter's weights, from what the operator told the serving pods."""
    for found in admin.items("configmaps", TEAM):
        for entry in json.loads(found.get("data", {}).get("adapters.json", "{}")).get("adapters", []):
            if entry["servedName"] == served_name:
                files = {file["path"]: file["sha256"] for file in entry["manifest"]["files"]}
                return str(files["adapter_model.safetensors"])
    raise DemoFailure(f"no serving pod was told of {served_name}", f"kubectl -n {TEAM} get modelservers -o yaml")


def flip(admin: Kubectl, image: str, blob: str) -> None:
    """Flip one bit in the middle of a stored blob; doing it twice restores it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": SYSTEM},
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
                    "name": "flipper",
                    "image": image,
                    "command": ["python3", "-c", FLIP, blob],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [{"name": "registry", "mountPath": "/registry"}],
                }
            ],
            "volumes": [{"name": "registry", "persistentVolumeClaim": {"claimName": REGISTRY_CLAIM}}],
        },
    }
    admin.attempt("-n", SYSTEM, "delete", "pod", POD, "--ignore-not-found", "--grace-period=1")
    admin.run("create", "-f", "-", document=json.dumps(pod))
    try:
        done = admin.attempt(
            *("-n", SYSTEM, "wait", f"pod/{POD}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
        )
        if done.returncode:
            logs = admin.attempt("-n", SYSTEM, "logs", POD).stderr
            raise DemoFailure(f"the stored blob could not be changed: {logs.strip()[-400:]}", "see the pod's events")
    finally:
        admin.attempt("-n", SYSTEM, "delete", "pod", POD, "--ignore-not-found", "--grace-period=1")


def restart_engine(admin: Kubectl, server: str) -> None:
    """Delete the serving pods: new ones pull and verify again."""
    admin.run("-n", TEAM, "delete", "pod", "-l", f"tunegate.io/server={server}", "--wait=true", "--timeout=120s")


def adapter_state(admin: Kubectl, server: str, served_name: str, wanted: str, timeout: float) -> str:
    """Wait until the server reports the adapter in the state ``wanted`` and return its reason."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = admin.get("modelserver", server, TEAM) or {}
        for adapter in found.get("status", {}).get("adapters", []):
            if adapter["servedName"] == served_name and adapter["state"] == wanted:
                return str(adapter.get("reason", ""))
        time.sleep(2)
    raise DemoFailure(
        f"{served_name} did not become {wanted} within {timeout:.0f} s",
        f"kubectl -n {TEAM} describe modelserver {server}",
        admin.explain("modelserver", server, TEAM),
    )
