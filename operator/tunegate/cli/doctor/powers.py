"""Rights with which somebody could get around the rules, and who holds them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tunegate.cli.doctor.check import Check
from tunegate.cli.doctor.rights import Need, Rights, Subject

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
        ),
        "cluster", "forge decisions while the rules are away; the operator counts nothing from such a time",
    ),
    Power(
        "enter the operator",
        (
            Need(("create", "get"), "", "pods/exec"), Need(("create", "get"), "", "pods/attach"),
            Need(("update", "patch"), "", "pods/ephemeralcontainers"),
        ),
        "system", "act as the operator, and read the key that signs the ledger",
    ),
    Power(
        "reach the operator's Secrets",
        (
            Need(("get", "list", "watch"), "", "secrets"), Need(WRITE, "", "pods"),
            *(Need(WRITE, "apps", kind) for kind in ("deployments", "statefulsets", "daemonsets", "replicasets")),
            Need(WRITE, "batch", "jobs"), Need(WRITE, "batch", "cronjobs"),
        ),
        "system", "read the key that signs the ledger and the registry's tokens",
    ),
)  # fmt: skip


def powers(rights: Rights, system: str, people: Collection[Subject], own: Collection[Subject]) -> Iterator[Check]:
    """Yield a check for each power. ``people`` decide or ask under Tunegate, ``own`` are its service accounts."""
    if rights.unlimited:
        shared = [one for one in rights.unlimited if one.everybody or one in people]
        yield Check(
            "administrators", "FAIL" if shared else "WARN", f"may do everything: {_names(rights.unlimited)}",
            f"take it from {_names(shared)}" if shared
            else "nothing in the cluster stops them: keep anchors and audit log out of their reach",
        )  # fmt: skip
    for power in POWERS:
        holders = rights.holders(power.needs, system if power.where == "system" else "")
        found = [one for one in holders if one not in own]
        yield _judged(power, found, people)


def _judged(power: Power, holders: Sequence[Subject], people: Collection[Subject]) -> Check:
    if not holders:
        return Check(power.name, "OK", "nobody but administrators")
    worst = [one for one in holders if one.everybody or one in people]
    advice = f"they could {power.means}"
    if worst:
        return Check(power.name, "FAIL", _names(holders), f"take it from {_names(worst)}: {advice}")
    return Check(power.name, "WARN", _names(holders), f"{advice}: is each of them meant to?")


def _names(subjects: Sequence[Subject]) -> str:
    return ", ".join(map(str, subjects))
