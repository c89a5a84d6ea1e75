"""Who holds a right, by the roles and bindings of RBAC. Pure.

The API server answers this for one person at a time and only for those whose name is known; here the question is which
users, groups and service accounts there are at all. Who is in a group only the identity provider knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]
EVERYBODY = frozenset({"system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:anonymous"})
OWN_PREFIXES = ("system:kube-", "system:node", "system:bootstrappers")
BOOTSTRAP = "kubernetes.io/bootstrapping"


@dataclass(frozen=True, order=True)
class Subject:
    """A user, group or service account that a binding names."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        if self.kind == "ServiceAccount":
            return f"service account {self.namespace}/{self.name}"
        return f"{self.kind.lower()} {self.name}"

    @property
    def everybody(self) -> bool:
        """Whether this is no certain person or program at all."""
        return self.name in EVERYBODY or self.name.startswith("system:serviceaccounts:")


@dataclass(frozen=True)
class Grant:
    """What one binding gives to one subject; ``namespace`` is empty where it holds everywhere."""

    subject: Subject
    rules: tuple[Json, ...] = field(hash=False)
    namespace: str


@dataclass(frozen=True)
class Need:
    """A right: any of the verbs on the resource; ``name`` where it is about one object."""

    verbs: tuple[str, ...]
    group: str
    resource: str
    name: str = ""

    def met_by(self, rule: Json) -> bool:
        """Tell whether a rule of a role gives this right, to some object at least."""
        resources, sub = rule.get("resources") or (), self.resource.partition("/")[2]
        names = rule.get("resourceNames") or ()
        return (
            _any(rule.get("verbs") or (), self.verbs)
            and _any(rule.get("apiGroups") or (), (self.group,))
            and (_any(resources, (self.resource,)) or (bool(sub) and f"*/{sub}" in resources))
            and (not names or not self.name or self.name in names or f"{self.name.partition('/')[0]}/*" in names)
        )


class Rights:
    """All grants of a cluster."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._grants = tuple(grants)
        everything = Need(("*",), "*", "*")
        self.unlimited = sorted(
            {one.subject for one in self._grants if not one.namespace and any(map(everything.met_by, one.rules))}
        )
        """Who may do all there is: for them every other question is idle."""
        self.namespaces = sorted({one.namespace for one in self._grants if one.namespace})
        """Where anything is granted."""

    def holders(self, needs: Sequence[Need], namespace: str = "") -> list[Subject]:
        """Return who holds any of the rights, in the namespace if one is given, else everywhere; not the unlimited."""
        return sorted({
            one.subject
            for one in self._grants
            if one.namespace in ("", namespace)
            and one.subject not in self.unlimited
            and any(need.met_by(rule) for need in needs for rule in one.rules)
        })  # fmt: skip


def grants(
    cluster_roles: Iterable[Json], roles: Iterable[Json], cluster_bindings: Iterable[Json], bindings: Iterable[Json]
) -> Iterator[Grant]:
    """Yield every grant but those to Kubernetes' own parts."""
    known = {("ClusterRole", "", _name(one)): one for one in cluster_roles}
    known |= {("Role", _namespace(one), _name(one)): one for one in roles}
    for binding in [*cluster_bindings, *bindings]:
        namespace, reference = _namespace(binding), binding["roleRef"]
        at = namespace if reference["kind"] == "Role" else ""
        role = known.get((reference["kind"], at, reference["name"]), {})
        for entry in binding.get("subjects") or ():
            subject = Subject(entry["kind"], entry["name"], entry.get("namespace") or "")
            if not _own(subject, binding):
                yield Grant(subject, tuple(role.get("rules") or ()), namespace)


def _own(subject: Subject, binding: Json) -> bool:
    """Tell whether this is a part of Kubernetes: a named one, or a controller by a binding that Kubernetes itself makes."""
    if subject.kind == "ServiceAccount":
        made = BOOTSTRAP in (binding["metadata"].get("labels") or {})
        return made and subject.namespace == "kube-system"
    return subject.name == "system:masters" or subject.name.startswith(OWN_PREFIXES)


def _any(given: Iterable[str], wanted: Iterable[str]) -> bool:
    held = set(given)
    return "*" in held or not held.isdisjoint(wanted)


def _name(one: Json) -> str:
    return str(one["metadata"]["name"])


def _namespace(one: Json) -> str:
    return str(one["metadata"].get("namespace") or "")
