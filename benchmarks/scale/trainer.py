"""Kubeflow Trainer 2.0 on the same API server, as something to compare with: built from its Go module, without nodes.

Its admission webhook is left out, since nothing routes a Service here; that makes it faster, not slower.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.scale.process import Process, until_ready

from tests.support.control_plane import ControlPlane, install_definitions, kubectl
from tests.support.ports import free_port
from tests.support.programs import built, sources
from tunegate.kube.client import KubeClient, ObjectRef

TRAINER, JOBSET = "github.com/kubeflow/trainer/v2", "sigs.k8s.io/jobset@v0.8.2"
VERSION = "v2.0.0"
NAMESPACE, SECRET = "kubeflow-system", "kubeflow-trainer-webhook-cert"
CERTIFICATES = Path("/tmp/k8s-webhook-server/serving-certs")  # noqa: S108 - the program knows no other place.
PATIENCE_SECONDS = 120
Json = dict[str, Any]


def train_job(name: str, namespace: str) -> Json:
    """A TrainJob as its documentation begins."""
    spec = {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"image": "none", "command": ["true"]}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": metadata, "spec": spec}


@contextmanager
def running_trainer(plane: ControlPlane) -> Iterator[Process]:
    """Run Trainer's controllers until the end of the block."""
    program = built(f"{TRAINER}/cmd/trainer-controller-manager@{VERSION}")
    manifests = sources(f"{TRAINER}@{VERSION}") / "manifests/base"
    own = sorted((manifests / "crds").glob("trainer.*"))
    install_definitions(plane, [*own, sources(JOBSET) / "config/components/crd/bases"])
    asyncio.run(_prepare(plane))
    port, log = free_port(), plane.folder / "trainer.log"
    command = [
        str(program), f"--kubeconfig={plane.kubeconfig('admin')}", f"--health-probe-bind-address=127.0.0.1:{port}",
        f"--webhook-server-port={free_port()}", "--zap-log-level=error",
    ]  # fmt: skip
    with log.open("wb") as output:
        popen = subprocess.Popen(command, stdout=output, stderr=output)
    process = Process(popen, f"http://127.0.0.1:{port}", log)
    try:
        _mount(asyncio.run(_certificate(plane, process)))
        until_ready(process, "ok")
        runtime = manifests / "runtimes/torch_distributed.yaml"
        subprocess.run([*kubectl(plane), "apply", "-f", str(runtime)], check=True, capture_output=True)
        yield process
    finally:
        popen.terminate()
        popen.wait(timeout=60)
        shutil.rmtree(CERTIFICATES, ignore_errors=True)


async def _prepare(plane: ControlPlane) -> None:
    """Make what Trainer's installation makes: its namespace, the Secret of its certificate, and no webhook."""
    webhooks = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}})
        await kube.create({**webhooks, "metadata": {"name": "validator.trainer.kubeflow.org"}, "webhooks": []})


async def _certificate(plane: ControlPlane, process: Process) -> dict[str, str]:
    """Return the certificate, as soon as Trainer has made it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        while not (secret := await kube.get(ObjectRef("v1", "Secret", SECRET, NAMESPACE)) or {}).get("data"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Trainer made no certificate: {process.log.read_text()[-2000:]}")
            await asyncio.sleep(0.5)
    return dict(secret["data"])


def _mount(files: dict[str, str]) -> None:
    """Write the certificate where the kubelet would."""
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (CERTIFICATES / name).write_bytes(base64.b64decode(content))
