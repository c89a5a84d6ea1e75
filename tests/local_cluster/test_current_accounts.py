"""`CLUSTER=current`: accounts on another cluster, skipped tests, and the confirmation. The local cluster stands in for the other one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import OPERATOR, USERS
from tests.support.accounts import of_current_cluster, request_of
from tests.support.programs import program

ROOT = Path(__file__).resolve().parents[2]


def run_tests(*paths: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests as `make cluster-test CLUSTER=current` does."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"KUBECONFIG", "CONFIRM"}}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "cluster and not e2e and not chaos",
    ]
    return subprocess.run(
        [*command, *paths], cwd=ROOT, env={**inherited, "CLUSTER": "current", **environment}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_tests_that_need_the_local_cluster_are_skipped_with_their_reasons() -> None:
    done = run_tests("tests/attacks/test_audit_log.py", "tests/local_cluster/test_cluster.py")
    assert done.returncode == 0, done.stdout
    assert "needs the local cluster: reads the API server's audit log from its file" in done.stdout
    assert "needs the local cluster: tests the local cluster itself" in done.stdout
    assert " passed" not in done.stdout


@pytest.mark.parametrize("environment", [{"KUBECONFIG": "/nowhere"}, {"CONFIRM": "yes"}])
def test_nothing_happens_without_a_kubeconfig_and_a_confirmation(environment: dict[str, str]) -> None:
    done = run_tests("tests/kube/test_client.py", **environment)
    assert done.returncode == 2, done.stdout
    assert "CLUSTER=current needs KUBECONFIG" in done.stdout + done.stderr


def test_a_request_has_name_and_groups() -> None:
    pem = request_of("erin", ["tunegate:engineers", "more"], ec.generate_private_key(ec.SECP256R1()))
    request = x509.load_pem_x509_csr(pem)
    assert request.is_signature_valid
    assert [part.rfc4514_string() for part in request.subject] == ["O=tunegate:engineers", "O=more", "CN=erin"]


@pytest.mark.cluster
@pytest.mark.local_cluster("tests the local cluster itself")
def test_people_and_accounts_get_certificates_and_leave_nothing_behind() -> None:
    admin = USERS / "platform-admin.kubeconfig"
    with of_current_cluster(admin) as accounts:

        def ask(file: Path, *words: str) -> str:
            command = [program("kubectl"), f"--kubeconfig={file}", "auth", *words]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout

        def who(file: Path) -> tuple[str, set[str]]:
            user = json.loads(ask(file, "whoami", "-o", "json"))["status"]["userInfo"]
            return user["username"], set(user["groups"]) - {"system:authenticated"}

        assert who(accounts.of_role("admin"))[0] == "petra"
        assert who(accounts.of_role("engineer")) == ("erin", {"tunegate:engineers"})
        assert who(accounts.of_role("outsider")) == ("olga", set())
        assert who(accounts.named("t-somebody")) == ("t-somebody", set())
        operator = accounts.named(OPERATOR, every_right=True)
        assert who(operator) == (OPERATOR, {accounts.everything})
        assert ask(operator, "can-i", "*", "*").strip() == "yes"
        assert ask(accounts.of_role("outsider"), "can-i", "*", "*").strip() == "no"
        assert accounts.of_role("engineer") == accounts.of_role("engineer")
    assert not accounts.folder.exists()
    left = [program("kubectl"), f"--kubeconfig={admin}", "get", "clusterrolebindings,csr", "-o", "name"]
    named = subprocess.run(left, check=True, capture_output=True, text=True).stdout
    assert accounts.everything.replace(":", "-") not in named
    assert "certificatesigningrequest.certificates.k8s.io/tunegate-tests-" not in named
