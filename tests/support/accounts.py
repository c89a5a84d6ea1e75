"""Kubeconfigs of the people and accounts in tests, each with a client certificate: on the local cluster, or on another one.

With ``CLUSTER=current`` the cluster of ``KUBECONFIG`` signs certificates for four hours, through CertificateSigningRequests. So authentication
is real there too. Impersonation in the kubeconfig (`as:`) was rejected: the Python client ignores it and would act as the administrator.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.programs import program
from tunegate_local import settings, users

SIGNER = "kubernetes.io/kube-apiserver-client"
HOURS_OF_A_CERTIFICATE = 4
SIGNING_SECONDS = 60.0
PRIVATE = 0o600
ADMIN = "admin"
PLATFORM_ADMIN = "platform-admin"
Json = dict[str, Any]


class Accounts(Protocol):
    """Gives kubeconfigs for the cluster under test."""

    def of_role(self, role: str) -> Path:
        """Return the kubeconfig of a role: admin, engineer, reviewer-risk, …"""
        ...

    def named(self, name: str, *, every_right: bool = False) -> Path:
        """Return a kubeconfig for this user name, without rights or with every right."""
        ...


@dataclass(frozen=True)
class LocalAccounts:
    """The people of the local cluster, and user names for which its authority signs."""

    folder: Path

    def of_role(self, role: str) -> Path:
        file = users.kubeconfig(role)
        known = sorted(path.stem for path in settings.USERS.glob("*"))
        assert file.is_file(), f"the local cluster has no user {role}: {known}"
        return file

    def named(self, name: str, *, every_right: bool = False) -> Path:
        label = f"test-{name.replace(':', '-')}{'-with-every-right' if every_right else ''}"
        groups = ["system:masters"] if every_right else []
        return users.ensure_kubeconfig(self.folder / f"{label}.kubeconfig", label, name, groups)


@dataclass
class CurrentAccounts:
    """The same people and user names on a cluster that signs client certificates."""

    folder: Path
    everything: str
    """Name of a group that has every right while the tests run."""
    made: dict[str, Path] = field(default_factory=dict)

    @property
    def admin(self) -> Path:
        return self.folder / f"{ADMIN}.kubeconfig"

    def of_role(self, role: str) -> Path:
        if role == ADMIN:
            return self.admin
        (user,) = (user for user in users.PEOPLE if user.role == role)
        return self._ensure(role, user.name, [*user.groups, *([self.everything] if role == PLATFORM_ADMIN else [])])

    def named(self, name: str, *, every_right: bool = False) -> Path:
        return self._ensure(f"{name} {every_right}", name, [self.everything] if every_right else [])

    def kubectl(self, *arguments: str, stdin: Json | None = None) -> str:
        """Run kubectl with the rights of ``KUBECONFIG`` and return its output."""
        command = [program("kubectl"), f"--kubeconfig={self.admin}", "--request-timeout=20s", *arguments]
        text = None if stdin is None else json.dumps(stdin)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _ensure(self, label: str, name: str, groups: Sequence[str]) -> Path:
        if label not in self.made:
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._signed(request_of(name, groups, key))
            file = self.folder / f"{len(self.made)}.kubeconfig"
            cluster = json.loads(self.admin.read_text())["clusters"]
            _write(file, kubeconfig(cluster, name, certificate, key))
            self.made[label] = file
        return self.made[label]

    def _signed(self, request: bytes) -> bytes:
        """Have the cluster sign a request and return the certificate in PEM form."""
        name = f"tunegate-tests-{secrets.token_hex(4)}"
        self.kubectl("create", "-f", "-", stdin=signing_request(name, request))
        try:
            self.kubectl("certificate", "approve", name)
            deadline = time.monotonic() + SIGNING_SECONDS
            while time.monotonic() < deadline:
                found = self.kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}")
                if found:
                    return base64.b64decode(found)
                time.sleep(0.2)
        finally:
            self.kubectl("delete", "csr", name, "--ignore-not-found")
        raise AssertionError(f"the cluster did not sign within {SIGNING_SECONDS:g} s: it has no signer {SIGNER}")


@contextmanager
def of_current_cluster(kubeconfig_file: Path) -> Iterator[CurrentAccounts]:
    """Prepare the cluster of a kubeconfig. Afterwards the binding and the keys of all certificates are deleted."""
    folder = Path(tempfile.mkdtemp(prefix="tunegate-accounts-"))
    accounts = CurrentAccounts(folder, f"tunegate:tests-{secrets.token_hex(8)}")
    binding = accounts.everything.replace(":", "-")
    try:
        command = [program("kubectl"), f"--kubeconfig={kubeconfig_file}"]
        command += ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        _write(accounts.admin, json.loads(shown))
        rights = ["--clusterrole=cluster-admin", f"--group={accounts.everything}"]
        accounts.kubectl("create", "clusterrolebinding", binding, *rights)
        try:
            yield accounts
        finally:
            accounts.kubectl("delete", "clusterrolebinding", binding)
    finally:
        shutil.rmtree(folder)


def request_of(name: str, groups: Sequence[str], key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a request for a certificate with this name and these groups, in PEM form."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def signing_request(name: str, request: bytes) -> Json:
    """Return the CertificateSigningRequest for a request in PEM form."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": SIGNER,
            "expirationSeconds": HOURS_OF_A_CERTIFICATE * 3600,
            "usages": ["client auth"],
        },
    }


def kubeconfig(clusters: list[Json], name: str, certificate: bytes, key: ec.EllipticCurvePrivateKey) -> Json:
    """Return a kubeconfig with one cluster and one user with this certificate."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(pem).decode(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "under-test", "context": {"cluster": clusters[0]["name"], "user": name}}],
        "current-context": "under-test",
    }


def _write(file: Path, document: Json) -> None:
    file.touch(mode=PRIVATE)
    file.write_text(json.dumps(document))
