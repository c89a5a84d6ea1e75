"""The running cluster: starting again changes nothing, volumes and people are as promised, egress is refused at the node."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local"))
pytestmark = [pytest.mark.cluster, pytest.mark.local_cluster("tests the local cluster itself")]


def tunegate_local(*words: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "local-cluster")}
    command = [sys.executable, "-m", "tunegate_local", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=300).stdout


def kubectl(*words: str, role: str = "admin", stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    program = tunegate_local("program", "kubectl").strip()
    command = [program, f"--kubeconfig={STATE}/users/{role}.kubeconfig", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=180)


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"local-cluster-{uuid.uuid4().hex[:8]}"
    assert kubectl("create", "namespace", name).returncode == 0
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def processes() -> dict[str, int]:
    return {file.stem: json.loads(file.read_text())["pid"] for file in (STATE / "run").glob("*.json")}


def test_a_second_start_restarts_nothing() -> None:
    before = processes()
    assert "Kubernetes 1.35.4 runs" in tunegate_local("start")
    assert processes() == before


def test_people_are_who_their_certificates_say() -> None:
    said = kubectl("auth", "whoami", "-o", "json", role="reviewer-risk").stdout
    person = json.loads(said)["status"]["userInfo"]
    assert person["username"] == "ravi"
    assert "tunegate:model-risk" in person["groups"]
    assert kubectl("get", "pods", role="outsider").returncode != 0
    assert (STATE / "users" / "engineer.kubeconfig").stat().st_mode & 0o077 == 0


def test_a_pod_writes_to_its_volume_reaches_the_cluster_and_nothing_beyond(namespace: str) -> None:
    cache = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache" / "tunegate")))
    image = json.loads((cache / "images.json").read_text())["base"]
    # 192.0.2.0/24 and 198.51.100.0/24 are reserved for documentation: nobody is there to be asked.
    script = """
import socket
open('/data/file', 'w').write('written')
socket.create_connection(('kubernetes.default.svc', 443), timeout=10).close()
print('cluster: reached')
try:
    socket.create_connection(('198.51.100.1', 443), timeout=10)
except ConnectionRefusedError:
    print('beyond: refused at the node')
try:
    socket.getaddrinfo('example.com', 443)
except socket.gaierror:
    print('outside name: unknown')
"""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    container = {
        "name": "probe",
        "image": image,
        "command": ["python3", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": [claim, pod]})
    before = json.loads(tunegate_local("egress", "--json"))
    applied = kubectl("apply", "-n", namespace, "-f", "-", stdin=objects)
    assert applied.returncode == 0, applied.stderr
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/probe", "--timeout=120s")
    said = kubectl("logs", "-n", namespace, "probe").stdout
    assert said.split("\n") == ["cluster: reached", "beyond: refused at the node", "outside name: unknown", ""]
    after = json.loads(tunegate_local("egress", "--json"))
    assert after["refusedPackets"] > before["refusedPackets"]
    asked = after["names"][len(before["names"]) :]
    assert [name for name in asked if name.startswith("example.com. asked by 10.244.0.")]
    volume = kubectl("get", "-n", namespace, "pvc/data", "-o", "jsonpath={.spec.volumeName}").stdout
    assert (STATE / "volumes" / volume / "file").read_text() == "written"
    kubectl("delete", "-n", namespace, "pod/probe", "pvc/data", "--wait=true")
    kubectl("wait", "--for=delete", f"pv/{volume}", "--timeout=60s")
    assert not (STATE / "volumes" / volume).exists()
