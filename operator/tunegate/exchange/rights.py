"""Which right opens a repository: RBAC on virtual resources of our group, asked in the caller's name. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunegate.api.pushed import KINDS

EVIDENCE = ("results", "answers", "data", "adapter", "statement")
"""What lies below a job's or a release's prefix, and the subresources of the virtual resource `evidence`."""
PUSHED = KINDS
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Right:
    """One question to RBAC."""

    verb: str
    resource: str
    """With the subresource behind a slash where there is one."""
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}.tunegate.io{where}"


def reading(repository: str) -> Right | None:
    """Return the right that reading a repository takes; None: nobody reads it by the exchange."""
    parts = repository.split("/")
    if not all(_NAME.fullmatch(part) for part in parts):
        return None
    match parts:
        case ["catalogue", name, "results"]:
            return Right("get", "basemodels", "", name)
        case [namespace, kind] if kind in PUSHED:
            return Right("list", kind, namespace)
        case [namespace, kind, name] if kind in PUSHED:
            return Right("get", kind, namespace, name)
        case [namespace, name, part] if part in EVIDENCE and namespace != "catalogue":
            return Right("get", f"evidence/{part}", namespace, name)
    return None


def own_writing(repository: str) -> bool:
    """Tell whether the exchange itself writes a repository: that of pushed data or of their records."""
    parts = repository.split("/")
    return len(parts) in (2, 3) and parts[1] in PUSHED
