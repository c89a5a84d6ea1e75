"""Installs the admission policies and the people's roles, as the chart renders them, for one governed test namespace.

Names get a prefix and bindings a narrower scope, so that nothing else on the cluster is touched; expressions, messages,
rights and the operator's user name stay exactly as the chart has them. The release namespace is `tunegate-system`.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import IMAGE, make_approval, make_finetunejob, make_modelrelease
from tests.support.programs import program
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry, AuditSubject

Json = dict[str, Any]
CHART = Path(__file__).parents[2] / "charts" / "tunegate"
OPERATOR = "system:serviceaccount:tunegate-system:tunegate-operator"
SUBJECT = "tunegate.io/subject-uid"
DIGEST = "sha256:" + "0" * 64
SITE_ADDRESSES = "203.0.113.0/24"
"""What Services may name as external addresses."""
PEOPLE = {
    "requesters": [{"groups": ["tunegate:engineers"]}],
    "approvers": [
        {"role": "risk", "groups": ["tunegate:model-risk"]},
        {"role": "compliance", "groups": ["tunegate:compliance"]},
    ],
    "evaluationOwners": [{"groups": ["tunegate:evaluation-owners"]}],
    "policyOwners": [{"groups": ["tunegate:policy-owners"]}],
    "servingOperators": [{"groups": ["tunegate:serving-operators"]}],
    "auditors": [{"groups": ["tunegate:auditors"]}],
    "maintainers": [{"groups": ["tunegate:maintainers"]}],
}


@dataclass
class World:
    """A governed namespace with its people."""

    namespace: str
    system: str
    kubeconfig: Callable[[str], str]
    record: str = ""
    """Name of an audit record that the policies of this test cover."""

    def kubectl(self, role: str, *args: str, stdin: Any = None, as_: str = "", groups: tuple[str, ...] = ()) -> Answer:
        """Run kubectl as a role of the local cluster, or impersonated as somebody else by the administrator."""
        command = [program("kubectl"), "--kubeconfig", self.kubeconfig(role), *args]
        if as_:
            command += ["--as", as_, *(f"--as-group={group}" for group in groups)]
        text = None if stdin is None else stdin if isinstance(stdin, str) else json.dumps(stdin)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=180, check=False)
        return Answer(done.returncode, done.stdout, done.stderr)

    def token_kubeconfig(self, token: str, path: Path) -> str:
        """Write a kubeconfig with a bearer token and nothing else: a client certificate would go before it."""
        cluster = yaml.safe_load(Path(self.kubeconfig("outsider")).read_text())["clusters"]
        user = {"name": "token", "user": {"token": token}}
        context = {"name": "token", "context": {"cluster": cluster[0]["name"], "user": "token"}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": cluster, "users": [user], "contexts": [context]}
        path.write_text(json.dumps({**config, "current-context": "token"}))
        return str(path)

    def with_token(self, token: str, *args: str, stdin: Any = None) -> Answer:
        """Run kubectl with a bearer token."""
        with tempfile.NamedTemporaryFile(suffix=".kubeconfig") as file:
            command = [program("kubectl"), "--kubeconfig", self.token_kubeconfig(token, Path(file.name)), *args]
            done = subprocess.run(
                command, input=json.dumps(stdin), capture_output=True, text=True, timeout=180, check=False
            )
        return Answer(done.returncode, done.stdout, done.stderr)

    def create(self, role: str, obj: Json, *, dry_run: bool = True, **who: Any) -> Answer:
        """Create an object; admission runs for a server-side dry run as well."""
        return self.kubectl(role, "create", "-f", "-", *(["--dry-run=server"] if dry_run else []), stdin=obj, **who)

    def as_operator(self, obj: Json) -> Answer:
        return self.create(
            "admin", obj, dry_run=False, as_=OPERATOR, groups=("system:serviceaccounts", "system:masters")
        )

    def job(self, username: str = "erin", **changes: Any) -> Json:
        return make_finetunejob("job", self.namespace, **{"requestedBy": {"username": username}, **changes})

    def release(self, name: str = "release", username: str = "erin", **changes: Any) -> Json:
        return make_modelrelease(name, self.namespace, **{"requestedBy": {"username": username}, **changes})

    def approval(self, username: str = "ravi", group: str = "tunegate:model-risk", **changes: Any) -> Json:
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        spec = {
            "approver": {"username": username, "groups": [group]},
            "expirationTime": soon,
            "role": "risk",
            **changes,
        }
        return make_approval(f"approval-{secrets.token_hex(3)}", self.namespace, **spec)


@dataclass(frozen=True)
class Answer:
    """What kubectl said."""

    code: int
    out: str
    err: str

    def passes(self) -> Answer:
        assert self.code == 0, self.err
        return self

    def refused(self, *words: str) -> None:
        """The API server said no, by the policy whose words these are and not by RBAC or a missing object."""
        assert self.code != 0, f"was let through: {self.out}"
        for word in words:
            assert word in self.err, self.err


@pytest.fixture(scope="session")
def world(kubeconfig: Callable[[str], str]) -> Iterator[World]:
    name = f"t-adm-{secrets.token_hex(3)}"
    world = World(name, f"{name}-system", kubeconfig)
    objects = render(name)
    try:
        for namespace in (world.namespace, world.system):
            world.kubectl("admin", "create", "namespace", namespace).passes()
        world.kubectl("admin", "create", "serviceaccount", "tunegate-operator", "-n", world.system).passes()
        world.record, uid = audit_record(world)
        world.kubectl("admin", "apply", "-f", "-", stdin=as_list(scoped(objects, name, uid))).passes()
        wait_until_active(world)
        yield world
    finally:
        names = scoped(objects, name, "none")
        world.kubectl("admin", "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=as_list(names))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if world.kubectl("admin", "delete", "namespace", world.namespace, world.system, "--wait=false").code == 0:
                break
            time.sleep(1)


def render(namespace: str) -> list[Json]:
    """Return the chart's admission and people templates for one governed namespace."""
    tool = f"system:serviceaccount:{namespace}:gitops"
    values = {
        "admission": {"gitOpsRequesters": [tool], "externalAddresses": [SITE_ADDRESSES], "networkWriters": [tool]},
        "governedNamespaces": [{"name": namespace, "policy": "two-person"}],
        "people": PEOPLE,
        "ledger": {"keySecret": "our-ledger-key"},
        "images": {
            **{name: f"example.org/{name}@{DIGEST}" for name in ("operator", "trainer", "mlflow", "registry")},
            "engines": [IMAGE, f"example.org/engine@{DIGEST}"],
        },
        "networkPolicies": {"enabled": False},
    }
    values["addresses"] = {"gateway": "http://{server}.{namespace}.example", "mlflow": "https://mlflow.example"}
    templates = [f"templates/admission/{file.name}" for file in sorted((CHART / "templates/admission").glob("*.yaml"))]
    shown = [
        part
        for name in [*templates, "templates/people/*.yaml", "templates/governed/addresses.yaml"]
        for part in ("-s", name)
    ]
    command = [program("helm"), "template", "tunegate", str(CHART), "-n", "tunegate-system", "-f", "-", *shown]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def scoped(objects: list[Json], prefix: str, uid: str) -> list[Json]:
    """Return the objects under names of this test, bound to its namespaces and its audit record only."""
    copies: list[Json] = json.loads(json.dumps(objects).replace('"tunegate-system"', f'"{prefix}-system"'))
    for copy in copies:
        copy["metadata"]["name"] = f"{prefix}-{copy['metadata']['name']}"
        if "roleRef" in copy:
            copy["roleRef"]["name"] = f"{prefix}-{copy['roleRef']['name']}"
        if copy["kind"] == "ValidatingAdmissionPolicyBinding":
            policy = copy["spec"]["policyName"]
            copy["spec"]["policyName"] = f"{prefix}-{policy}"
            if policy in ("tunegate-ledger", "tunegate-status", "tunegate-ownership", "tunegate-immutable"):
                # Cluster-scoped kinds: only what this test labelled, so that other tests go on undisturbed.
                selector = [{"key": SUBJECT, "operator": "In", "values": [uid, prefix]}]
                copy["spec"]["matchResources"]["objectSelector"] = {"matchExpressions": selector}
    return copies


def as_list(objects: list[Json]) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def audit_record(world: World) -> tuple[str, str]:
    """Return name and subject of a record: any that exists, else the first of the chain, appended as the operator."""
    one = "/apis/tunegate.io/v1alpha1/auditrecords?limit=1"
    found = json.loads(world.kubectl("admin", "get", "--raw", one).passes().out)["items"]
    if not found:
        world.as_operator(first_record()).passes()
        found = json.loads(world.kubectl("admin", "get", "--raw", one).passes().out)["items"]
    return found[0]["metadata"]["name"], found[0]["spec"]["subject"]["uid"]


def first_record() -> Json:
    subject = AuditSubject("FineTuneJob", "t-adm", "job", f"t-adm-{secrets.token_hex(4)}")
    entry = AuditEntry("JobRequested", "erin", subject, "first")
    return chain.record_object(chain.next_record(entry, None, datetime.now(UTC)))


def wait_until_active(world: World) -> None:
    """A new policy acts after a second or three."""
    deadline = time.monotonic() + 60
    own = f"ValidatingAdmissionPolicy '{world.namespace}-"
    probes: tuple[tuple[str, Callable[[], Answer]], ...] = (
        (own, lambda: world.create("engineer", world.job("somebody"))),
        (own, lambda: world.create("reviewer-risk", world.approval("somebody"))),
        (own, lambda: world.kubectl("admin", "delete", "namespace", world.namespace, "--dry-run=server")),
        (own, lambda: world.kubectl("admin", "create", "token", "tunegate-operator", "-n", world.system)),
        (own, lambda: world.create("admin", labelled(world, owned(world.release())))),
        (own, lambda: world.create("admin", pod(world.namespace))),
        # Another governed namespace's policy, or the installed chart's, may be the one that answers here.
        ("never deleted", lambda: world.kubectl("admin", "delete", "auditrecord", world.record, "--dry-run=server")),
    )
    for words, probe in probes:
        while words not in (answer := probe()).err:
            assert time.monotonic() < deadline, f"policies do not act after 60 s: {answer}"
            time.sleep(0.3)


def labelled(world: World, obj: Json) -> Json:
    obj["metadata"].setdefault("labels", {})[SUBJECT] = world.namespace
    return obj


def owned(obj: Json) -> Json:
    obj["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"}]
    return obj


def patch(world: World, role: str, kind: str, name: str, change: object, *more: str) -> Answer:
    return world.kubectl(
        role, "patch", kind, name, "-n", world.namespace, "--type=merge", "-p", json.dumps(change), *more
    )


def say_phase(world: World, release: str, phase: str, **more: Any) -> None:
    change = json.dumps({"status": {"phase": phase, **more}})
    world.kubectl(
        "admin", "patch", "modelrelease", release, "-n", world.namespace, "--type=merge", "--subresource=status",
        "-p", change, as_=OPERATOR, groups=("system:masters",),
    ).passes()  # fmt: skip


def pod(namespace: str, name: str = "foreign") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "example.invalid/none"}]},
    }
