"""For each admission rule of the chart one attempt that it refuses, in the demo's namespace, by who would make it.

Where RBAC alone would refuse, the platform administrator tries: she holds every right of RBAC. Nothing is stored even if a
rule lets it through: what can be is a dry run, and a connection is asked for in a way that no pod answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.builders import make_modelserver
from tests.support.governed_namespace import OPERATOR, Answer, World, pod

Json = dict[str, Any]
ADMIN = "platform-admin"
AUTHOR = "ned"
"""May submit jobs, and use no server."""
MANAGER = "nina"
"""Holds Kubernetes' role `admin` in the operator's and the team's namespace, and does not maintain the installation."""
DRY = "--dry-run=server"


@dataclass(frozen=True)
class Site:
    """What the demo left: names of objects to attack."""

    world: World
    release: Json
    """A release that was approved."""
    approval: str
    record: str
    engine: str
    """Name of a serving pod."""
    node: str
    routes: str
    """Name of a ConfigMap that the operator keeps for a gateway."""

    @property
    def namespace(self) -> str:
        return self.world.namespace

    def try_to(self, *words: str, role: str = ADMIN, **more: Any) -> Answer:
        """Run kubectl in the namespace."""
        return self.world.kubectl(role, "-n", self.namespace, *words, **more)

    def connect(self, path: str) -> Answer:
        """Ask for a connection, without the headers that would open one."""
        return self.world.kubectl(ADMIN, "create", "--raw", path, "-f", "-", stdin={})


Attempt = Callable[[Site], Answer]


def approve_as_somebody_else(site: Site) -> Answer:
    metadata, status = site.release["metadata"], site.release["status"]
    subject = {"kind": "ModelRelease", "name": metadata["name"], "uid": metadata["uid"]}
    forged = site.world.approval(
        "cora", "tunegate:compliance", role="compliance", subjectRef=subject, subjectDigest=status["releaseDigest"]
    )
    return site.world.create("reviewer-risk", forged)


def enter_a_pod(site: Site) -> Answer:
    return site.connect(f"/api/v1/namespaces/{site.namespace}/pods/{site.engine}/exec?command=true&container=gateway")


def enter_a_pod_through_its_node(site: Site) -> Answer:
    return site.connect(f"/api/v1/nodes/{site.node}/proxy/exec/{site.namespace}/{site.engine}/gateway?command=true")


def edit_a_record(site: Site) -> Answer:
    return site.try_to("label", "approval", site.approval, "reviewed=twice", DRY)


def delete_from_the_ledger(site: Site) -> Answer:
    return site.try_to("delete", "auditrecord", site.record, DRY)


def lead_clients_elsewhere(site: Site) -> Answer:
    routes = json.dumps({"data": {"routes.json": "{}"}})
    return site.try_to("patch", "configmap", site.routes, "--type=merge", "-p", routes, DRY)


def trust_another_api_server(site: Site) -> Answer:
    forged = json.dumps({"data": {"ca.crt": "forged"}})
    return site.try_to("patch", "configmap", "kube-root-ca.crt", "--type=merge", "-p", forged, DRY)


def claim_the_gateways_by_a_service(site: Site) -> Answer:
    metadata = {"name": "mine", "namespace": site.namespace}
    spec = {"type": "ExternalName", "externalName": "elsewhere.example"}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    return site.world.create("admin", made, as_=MANAGER)


def delete_the_namespace(site: Site) -> Answer:
    return site.try_to("delete", "namespace", site.namespace, DRY)


def delete_all_approvals_with_their_kind(site: Site) -> Answer:
    return site.try_to("delete", "crd", "approvals.tunegate.io", DRY)


def speak_for_a_gateway(site: Site) -> Answer:
    labels = {"kubernetes.io/service-name": site.release["status"]["serverRef"]["name"]}
    made = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "elsewhere", "namespace": site.namespace, "labels": labels},
        "endpoints": [{"addresses": ["10.9.8.7"]}], "ports": [{"name": "http", "port": 8080}],
    }  # fmt: skip
    return site.world.create(ADMIN, made)


def hold_a_release_with_a_finalizer(site: Site) -> Answer:
    change = json.dumps({"metadata": {"finalizers": ["example.org/mine"]}})
    return site.try_to("patch", "modelrelease", site.release["metadata"]["name"], "--type=merge", "-p", change, DRY)


def ask_in_a_reviewers_name(site: Site) -> Answer:
    return site.world.create("engineer", site.world.release("in-another-name", "ravi"))


def delete_a_decision(site: Site) -> Answer:
    return site.try_to("delete", "approval", site.approval, DRY)


def say_that_it_serves(site: Site) -> Answer:
    change = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": {"phase": "Serving"}}))
    return site.try_to("patch", "modelrelease", site.release["metadata"]["name"], *change, DRY)


def get_a_token_that_never_ends(site: Site) -> Answer:
    account = {"kubernetes.io/service-account.name": "tunegate-serving"}
    metadata = {"name": "token", "namespace": site.namespace, "annotations": account}
    made = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": metadata}
    return site.world.create(ADMIN, made)


def train_on_a_server_of_others(site: Site) -> Answer:
    job = site.world.job(AUTHOR, serverRef=site.release["status"]["serverRef"])
    return site.world.create("admin", job, as_=AUTHOR)


def run_a_pod(site: Site) -> Answer:
    return site.world.create(ADMIN, pod(site.namespace))


def pass_for_the_operator(site: Site) -> Answer:
    metadata = {"name": "note", "namespace": site.namespace}
    return site.world.create(ADMIN, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, as_=OPERATOR)


def delete_the_operator(site: Site) -> Answer:
    words = ("delete", "deployment", "tunegate-operator", "-n", site.world.system, DRY)
    return site.world.kubectl("admin", *words, as_=MANAGER)


def enter_the_operator(site: Site) -> Answer:
    path = f"/api/v1/namespaces/{site.world.system}/pods/tunegate-operator/exec?command=true"
    return site.world.kubectl("admin", "create", "--raw", path, "-f", "-", stdin={}, as_=MANAGER)


def run_as_the_operator(site: Site) -> Answer:
    made = pod(site.world.system)
    made["spec"]["serviceAccountName"] = "tunegate-operator"
    return site.world.create("admin", made, as_=MANAGER)


def serve_adapters_elsewhere(site: Site) -> Answer:
    made = pod("default")
    made["spec"]["containers"][0]["args"] = ["--enable-lora"]
    return site.world.create(ADMIN, made)


def serve_with_a_program_of_ones_own(site: Site) -> Answer:
    made = make_modelserver("other-engine", site.namespace)
    made["spec"]["profile"]["image"] = f"example.org/engine@sha256:{'0' * 64}"
    return site.world.create(ADMIN, made)


def take_over_an_address(site: Site) -> Answer:
    spec = {"selector": {"app": "none"}, "ports": [{"port": 80}], "externalIPs": ["10.96.0.1"]}
    metadata = {"name": "elsewhere", "namespace": site.world.system}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    return site.world.create("admin", made, as_=MANAGER)


def open_the_network(site: Site) -> Answer:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
    metadata = {"name": "open", "namespace": site.namespace}
    made = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
    return site.world.create("admin", made, as_=MANAGER)


def decide_on_what_has_ended(site: Site) -> Answer:
    """The operator is away: what it would write of a release that has ended is written for it, and taken back."""
    subject = {"kind": "ModelRelease", "name": "ended", "uid": "ended"}
    late = site.world.approval("ravi", "tunegate:model-risk", role="model-risk", subjectRef=subject)
    operator: dict[str, Any] = {"role": "admin", "as_": OPERATOR, "groups": ("system:masters",)}
    where = ("patch", "usage", "people", "--type=merge", "-p")
    before = json.loads(site.try_to("get", "usage", "people", "-o", "json").passes().out)["spec"]
    site.try_to(*where, json.dumps({"spec": {"ended": ["ended"]}}), **operator).passes()
    try:
        for _ in range(100):
            if (answer := site.world.create("reviewer-risk", late)).code != 0:
                break
            time.sleep(0.2)
        return answer
    finally:
        site.try_to(*where, json.dumps({"spec": {"ended": before.get("ended", [])}}), **operator).passes()


ATTEMPTS: dict[str, Attempt] = {
    "tunegate-addresses": take_over_an_address,
    "tunegate-approver": approve_as_somebody_else,
    "tunegate-connect": enter_a_pod,
    "tunegate-engines": serve_with_a_program_of_ones_own,
    "tunegate-crds": delete_all_approvals_with_their_kind,
    "tunegate-immutable": edit_a_record,
    "tunegate-impersonation": pass_for_the_operator,
    "tunegate-installed": delete_the_operator,
    "tunegate-ledger": delete_from_the_ledger,
    "tunegate-managed": lead_clients_elsewhere,
    "tunegate-namespaces": delete_the_namespace,
    "tunegate-network": open_the_network,
    "tunegate-nodes": enter_a_pod_through_its_node,
    "tunegate-observed": speak_for_a_gateway,
    "tunegate-outside": serve_adapters_elsewhere,
    "tunegate-ownership": hold_a_release_with_a_finalizer,
    "tunegate-quotas": decide_on_what_has_ended,
    "tunegate-requester": ask_in_a_reviewers_name,
    "tunegate-retention": delete_a_decision,
    "tunegate-root-ca": trust_another_api_server,
    "tunegate-services": claim_the_gateways_by_a_service,
    "tunegate-status": say_that_it_serves,
    "tunegate-system-connect": enter_the_operator,
    "tunegate-system-pods": run_as_the_operator,
    "tunegate-tokens": get_a_token_that_never_ends,
    "tunegate-use": train_on_a_server_of_others,
    "tunegate-workloads": run_a_pod,
}
"""By the name of the rule that has to refuse it."""
WARNS = {"tunegate-outside"}
"""Rules that only say so."""
