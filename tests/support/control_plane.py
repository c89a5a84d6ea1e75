"""An API server with an etcd of its own, on loopback, for what must not be done to a cluster that others use.

No node and no controller: objects, admission rules and RBAC are all real, and nothing runs. People have tokens.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.ledgers import new_key_pem
from tests.support.ports import free_port, wait_until_open
from tests.support.programs import program

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
READY_SECONDS = 180.0


@dataclass(frozen=True)
class Member:
    """A user of the API server."""

    role: str
    name: str
    groups: tuple[str, ...] = ()


class Etcd:
    """The store behind the API server, by the JSON gateway of etcd: who reaches it is asked by nobody what he may."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=20.0, trust_env=False)

    def under(self, prefix: str) -> dict[str, bytes]:
        """Return the bytes under all keys that begin with ``prefix``, a path that ends in a slash."""
        body = {"key": _encoded(prefix.encode()), "range_end": _encoded(prefix[:-1].encode() + b"0")}
        found = self._ask("range", body).get("kvs", [])
        return {base64.b64decode(one["key"]).decode(): base64.b64decode(one["value"]) for one in found}

    def write(self, key: str, value: bytes) -> None:
        """Put bytes under a key, past everything."""
        self._ask("put", {"key": _encoded(key.encode()), "value": _encoded(value)})

    def _ask(self, verb: str, body: Json) -> Json:
        answer: Json = self._http.post(f"/v3/kv/{verb}", json=body).raise_for_status().json()
        return answer


@dataclass(frozen=True)
class ControlPlane:
    """What runs, and where its people's kubeconfigs lie."""

    folder: Path
    etcd: Etcd

    def kubeconfig(self, role: str) -> str:
        """Return the path of a member's kubeconfig."""
        return str(self.folder / f"{role}.kubeconfig")


@contextmanager
def running_control_plane(folder: Path, members: Sequence[Member], *options: str) -> Iterator[ControlPlane]:
    """Start etcd and API server with these users, and further options of the API server; end them afterwards."""
    port, tokens = free_port(), {member.role: secrets.token_urlsafe(24) for member in members}
    rows = (f'{tokens[one.role]},{one.name},,"{",".join(one.groups)}"\n' for one in members)
    (folder / "tokens.csv").write_text("".join(rows))
    (folder / "accounts.key").write_bytes(new_key_pem())
    with ExitStack() as stack:
        etcd = stack.enter_context(_running_etcd(folder))
        command = [*_api_server(folder, port, etcd), *options]
        process = stack.enter_context(_running("kube-apiserver", command, port, folder))
        for role, token in tokens.items():
            (folder / f"{role}.kubeconfig").write_text(json.dumps(_kubeconfig(folder, port, role, token)))
        plane = ControlPlane(folder, Etcd(etcd))
        _wait_until_ready(plane.kubeconfig(members[0].role), process, folder / "kube-apiserver.log")
        yield plane


@contextmanager
def _running_etcd(folder: Path) -> Iterator[str]:
    port = free_port()
    client, peer = f"http://{HOST}:{port}", f"http://{HOST}:{free_port()}"
    command = [
        "--name=alone", f"--data-dir={folder / 'etcd'}", "--log-level=error", "--unsafe-no-fsync",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=alone={peer}",
    ]  # fmt: skip
    with _running("etcd", command, port, folder):
        yield client


def kubectl(plane: ControlPlane) -> list[str]:
    """Return the command with which the member `admin` asks the API server."""
    return [program("kubectl"), "--kubeconfig", plane.kubeconfig("admin")]


def install_definitions(plane: ControlPlane, folders: Sequence[Path] = (ROOT / "crds",)) -> None:
    """Give the API server the custom resource definitions of some folders, also over those of another version."""
    for folder in folders:
        command = [*kubectl(plane), "apply", "--server-side", "--force-conflicts", "-f", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    established = [*kubectl(plane), "wait", "--for=condition=Established", "crd", "--all", "--timeout=180s"]
    subprocess.run(established, check=True, capture_output=True)


def _api_server(folder: Path, port: int, etcd: str) -> list[str]:
    key = folder / "accounts.key"
    return [
        f"--etcd-servers={etcd}", f"--bind-address={HOST}", f"--secure-port={port}", f"--cert-dir={folder / 'tls'}",
        f"--token-auth-file={folder / 'tokens.csv'}", "--anonymous-auth=false", "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16", "--profiling=false",
        # No address of loopback may stand for the service "kubernetes", which nothing here asks.
        "--endpoint-reconciler-type=none",
    ]  # fmt: skip


@contextmanager
def _running(name: str, arguments: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program(name), *arguments], stdout=output, stderr=subprocess.STDOUT, cwd="/")
    try:
        wait_until_open(HOST, port, process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _kubeconfig(folder: Path, port: int, role: str, token: str) -> Json:
    cluster = {"server": f"https://{HOST}:{port}", "certificate-authority": str(folder / "tls" / "apiserver.crt")}
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "own",
        "clusters": [{"name": "own", "cluster": cluster}], "users": [{"name": role, "user": {"token": token}}],
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": role}}],
    }  # fmt: skip


def _wait_until_ready(kubeconfig: str, process: subprocess.Popen[bytes], log: Path) -> None:
    command = [program("kubectl"), "--kubeconfig", kubeconfig, "--request-timeout=5s", "get", "--raw", "/readyz"]
    deadline = time.monotonic() + READY_SECONDS
    while subprocess.run(command, capture_output=True, check=False).returncode:
        assert process.poll() is None, f"the API server ended: {log.read_text()[-1000:]}"
        assert time.monotonic() < deadline, f"not ready after {READY_SECONDS:g} s: {log.read_text()[-1000:]}"
        time.sleep(0.2)


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()
