"""A new team on the installed chart: its people, who sign in, what the platform team gave them, and the pages that they follow."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.e2e.administrator import kubectl
from tests.e2e.test_demo_under_faults import ADMIN, CHECKOUT
from tests.support.pages import DOCS
from tests.support.ports import free_port, running_server
from tests.support.programs import program
from tests.support.sign_in import SignIn, running_issuer

TEAM, SYSTEM = "licenses-team", "tunegate-system"
PEOPLE = {
    "engineer": ("erin", "tunegate:engineers"),
    "evaluation owner": ("eva", "tunegate:evaluation-owners"),
    "policy owner": ("paul", "tunegate:policy-owners"),
    "serving operator": ("sven", "tunegate:serving-operators"),
    "model-risk": ("ravi", "tunegate:model-risk"),
    "compliance": ("cora", "tunegate:compliance"),
    "developer": ("dana", "tunegate:developers"),
}
KNOWN_SECONDS = 60
"""Until the API server has found the provider's keys: it looks every ten seconds."""


@dataclass(frozen=True)
class Team:
    """What each person of the team has on their own machine: a kubeconfig with their token, settings, files."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, role: str, line: str, seconds: float) -> str:
        """Run a line of a page as one of ``PEOPLE`` and return what it printed. Fails with its words."""
        environment = {**self.environment, "KUBECONFIG": str(self.folder / f"{PEOPLE[role][0]}.kubeconfig")}
        return _run(line, self.folder, environment, seconds)


@contextmanager
def welcomed(folder: Path) -> Iterator[Team]:
    """Do what the platform team does once for a team, by docs/road-cluster.md on the cluster of the demo; end what was started."""
    _follow_the_platform_team(folder)
    accounts = {name: (f"E-{number}", [group]) for number, (name, group) in enumerate(PEOPLE.values(), 2001)}
    with ExitStack() as running:
        issuer = running.enter_context(running_issuer(folder, accounts))
        registry = running.enter_context(_tunnel("tunegate-registry", 5000, folder))
        exchange = running.enter_context(_tunnel("tunegate-exchange", 8443, folder))
        for name, _ in PEOPLE.values():
            _write_kubeconfig(folder / f"{name}.kubeconfig", issuer, name)
        address = json.loads(kubectl("-n", TEAM, "get", "service", "licenses", "-o", "json"))["spec"]["clusterIP"]
        told = {"host": f"localhost:{registry}", "exchange": f"localhost:{exchange}", "caFile": "ca.crt"}
        settings = {"registry": told, "gateway": {"address": f"http://{address}"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        yield Team(folder, _environment(folder))


def _follow_the_platform_team(folder: Path) -> None:
    """Run the page's commands as the cluster's administrator, with the files and values that the demo was installed by."""
    image = json.loads(kubectl("-n", TEAM, "get", "modelserver", "licenses", "-o", "json"))["spec"]["profile"]["image"]
    for name in ("computepool", "basemodel", "approvalpolicy", "modelserver", "accounts"):
        text = (CHECKOUT / "examples/licenses" / f"{name}.yaml").read_text()
        # The demo has something to serve by now.
        text = text.replace("${ENGINE_IMAGE}", image).replace("replicas: 0", "replicas: 1")
        (folder / f"{name}.yaml").write_text(text)
    (folder / "charts").symlink_to(CHECKOUT / "charts")
    environment = {**_environment(folder), "KUBECONFIG": str(ADMIN)}
    del environment["TUNEGATE_CONFIG"]  # The team's settings are not there yet.
    values = "helm -n tunegate-system get values tunegate -o yaml > values-site.yaml"
    # What the page creates is there after an earlier run; a developer of the application's team works in its namespace.
    before = "kubectl delete namespace licenses-app --ignore-not-found --timeout=3m"
    after = "kubectl -n licenses-app create rolebinding developers --clusterrole=edit --group=tunegate:developers"
    for line in (values, before, *commands("road-cluster.md"), after):
        _run(line, folder, environment)


def _run(line: str, folder: Path, environment: Mapping[str, str], seconds: float = 900) -> str:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=seconds, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands(page: str) -> list[str]:
    """Return the commands of a page's shell blocks, each in one line."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def who(line: str, page: str) -> str:
    """Return who runs a command of a page: of the last name in bold before it, or of the role that the command names."""
    role = re.search(r"--role ([a-z-]+)", line)
    if role:
        return str(role[1])
    before = (DOCS / page).read_text().partition(line)[0]
    named: list[str] = re.findall(r"\*\*([a-z ]+)\*\*", before)
    return [name for name in named if name in PEOPLE][-1]


@contextmanager
def _tunnel(service: str, port: int, folder: Path) -> Iterator[int]:
    """Open a tunnel as the platform team, as docs/operate.md does; gives the port on loopback."""
    local = free_port()
    command = [program("kubectl"), f"--kubeconfig={ADMIN}", "-n", SYSTEM, "port-forward", f"service/{service}"]
    with running_server([*command, f"{local}:{port}"], "127.0.0.1", local, folder / f"{service}.log"):
        yield local


def _write_kubeconfig(path: Path, issuer: SignIn, name: str) -> None:
    """Sign in, and write what `kubectl` and `tunegate` need; returns once the API server knows the person."""
    cluster = yaml.safe_load(ADMIN.read_text())["clusters"][0]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "team",
        "clusters": [cluster],
        "users": [{"name": name, "user": {"token": issuer.session(name).token}}],
        "contexts": [{"name": "team", "context": {"cluster": cluster["name"], "user": name}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    deadline = time.monotonic() + KNOWN_SECONDS
    command = [program("kubectl"), f"--kubeconfig={path}", "auth", "whoami"]
    while subprocess.run(command, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"the API server does not know {name}"
        time.sleep(1)


def _environment(folder: Path) -> dict[str, str]:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "tunegate").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tunegate.cli "$@"\n')
    (programs / "tunegate").chmod(0o755)
    return {
        "PATH": f"{programs}:{Path(program('kubectl')).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": f"{CHECKOUT / 'operator'}:{CHECKOUT / 'trainer-image'}",
        "TUNEGATE_CONFIG": str(folder / "config.yaml"),
    }
