"""Rights with which somebody could get around the rules, and who holds them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunegate.api.markers import GROUP
from tunegate.api.shared import AUTH_TIME, PERSON_ID
from tunegate.rbac.rights import Need, Rights, Subject

WRITE = ("create", "update", "patch")
RBAC, ADMISSION, CERTIFICATES = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io"
CONSTRAINED = "impersonate:user-info"
"""Verb of constrained impersonation (Kubernetes 1.36)."""


@dataclass(frozen=True)
class Power:
    """A set of rights, where it matters, and what somebody could do with it."""

    name: str
    needs: tuple[Need, ...]
    where: Literal["cluster", "system"]
    means: str
    given_to: tuple[str, ...] = ()
    """Accounts of the operator's namespace to which the chart gives it, and which are then not named."""


POWERS = (
    Power(
        "impersonate people",
        tuple(
            Need(("impersonate", CONSTRAINED), group, resource)
            for group in ("", "authentication.k8s.io")
            for resource in ("users", "groups", "serviceaccounts")
        ),
        "cluster",
        "approve in another's name; only the API server's audit log shows it",
    ),
    Power(
        "impersonate people with their person-ids",
        tuple(Need(("impersonate",), "authentication.k8s.io", f"userextras/{key}") for key in (PERSON_ID, AUTH_TIME)),
        "cluster", "approve in another's name where policies ask which human it is, if they impersonate users too",
    ),
    Power(
        "reach pods through nodes", (Need(("get", "create"), "", "nodes/proxy"),), "cluster",
        "run commands in serving pods past admission",
    ),
    Power(
        "sign certificates that log in",
        (Need(("approve", "sign"), CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client"),),
        "cluster", "become anybody by a client certificate",
    ),
    Power(
        "write rights",
        (
            Need(WRITE, RBAC, "clusterrolebindings"), Need((*WRITE, "escalate", "bind"), RBAC, "clusterroles"),
            Need(("escalate", "bind"), RBAC, "roles"),
        ),
        "cluster", "make themselves or friends approvers",
    ),
    Power(
        "change the admission rules",
        (
            *(
                Need((*WRITE, "delete", "deletecollection"), ADMISSION, kind)
                for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
            ),
            Need(("update", "patch", "delete"), "apiextensions.k8s.io", "customresourcedefinitions"),
            # Anyone who has the group served by a program of their own needs to change no rule.
            Need(WRITE, "apiregistration.k8s.io", "apiservices"),
        ),
        "cluster", "forge decisions while the rules are away; the operator counts nothing from such a time",
    ),
    Power(
        "rewrite objects on their way in",
        tuple(
            Need(WRITE, ADMISSION, kind)
            for kind in ("mutatingwebhookconfigurations", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
        ),
        "cluster", "change pods and records before the rules see them; a name still has to be the caller's",
    ),
    Power(
        "maintain the installation", (Need(("maintain",), GROUP, "installations", "tunegate"),), "cluster",
        "enter the operator's pods, run others with its keys, and change what the chart made",
    ),
    Power(
        "enter the operator",
        (
            Need(("create", "get"), "", "pods/exec"), Need(("create", "get"), "", "pods/attach"),
            Need(("update", "patch"), "", "pods/ephemeralcontainers"),
        ),
        "system", "act as the operator, and read the key that signs the ledger, if they may maintain the installation too",
    ),
    Power(
        "reach the operator's Secrets",
        (
            Need(("get", "list", "watch"), "", "secrets"), Need(WRITE, "", "pods"),
            *(Need(WRITE, "apps", kind) for kind in ("deployments", "statefulsets", "daemonsets", "replicasets")),
            Need(WRITE, "batch", "jobs"), Need(WRITE, "batch", "cronjobs"),
        ),
        "system", "read the key that signs the ledger and the registry's tokens",
        given_to=("tunegate-operator", "tunegate-credentials"),
    ),
)  # fmt: skip


def holders(rights: Rights, power: Power, system: str) -> list[Subject]:
    """Return who holds it, but those who may do everything; ``system`` is the operator's namespace."""
    found = rights.holders(power.needs, system if power.where == "system" else "")
    own = {Subject("ServiceAccount", name, system) for name in power.given_to}
    return [one for one in found if one not in own]
