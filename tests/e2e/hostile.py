"""A hostile admin of the governed namespace, who tries everything on all that the operator makes while the demo runs.

What the operator makes is taken from the API server's audit log, so no list of kinds or names can forget one. Each object is
changed, relabelled, deleted and replaced as soon as it is there, and objects of the names that follow are made first, with and
without the operator's labels. Every try is real: one that is let through has its effect.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.faults import TEAM
from tests.support.governed_namespace import OPERATOR
from tests.support.programs import program
from tunegate_local import certificates, users
from tunegate_local.settings import API_URL, STATE

Json = dict[str, Any]
LOG = STATE / "logs" / "audit.log"
MALLORY = "mallory"
GROUP = "tunegate.io"
MERGE = {"Content-Type": "application/merge-patch+json"}
EVIL = "evil.example.org"
CHANGES: dict[str, Json] = {
    "configmaps": {"data": {"routes.json": "{}"}},
    "secrets": {"stringData": {"config.json": "{}"}},
    "services": {"spec": {"type": "ExternalName", "externalName": EVIL, "clusterIP": None, "selector": None}},
    "roles": {"rules": []},
    "rolebindings": {"subjects": []},
    "poddisruptionbudgets": {"spec": {"maxUnavailable": 0}},
    "deployments": {"spec": {"replicas": 0}},
    "jobs": {"spec": {"suspend": True}},
    "persistentvolumeclaims": {"spec": {"resources": {"requests": {"storage": "900Gi"}}}},
}
"""By resource, a change of content that the API server's own validation lets through."""


KINDS = {
    "configmaps": ("", "v1"), "secrets": ("", "v1"), "services": ("", "v1"), "persistentvolumeclaims": ("", "v1"),
    "deployments": ("apps", "v1"), "jobs": ("batch", "v1"), "poddisruptionbudgets": ("policy", "v1"),
    "roles": ("rbac.authorization.k8s.io", "v1"), "rolebindings": ("rbac.authorization.k8s.io", "v1"),
}  # fmt: skip
"""What the operator makes in a governed namespace: resource to group and version. Another one in the audit log is a kind that
nobody thought of."""
OURS = "app.kubernetes.io/managed-by=tunegate"


@dataclass(frozen=True)
class Made:
    """An object that the operator made in the namespace."""

    group: str
    version: str
    resource: str
    name: str

    @property
    def collection(self) -> str:
        """Path of its kind in the namespace."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{prefix}/namespaces/{TEAM}/{self.resource}"

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.name}"


@dataclass(frozen=True)
class Tried:
    """One try and what the API server said."""

    made: Made
    what: str
    code: int
    message: str

    @property
    def admitted(self) -> bool:
        return self.code < 400


@dataclass
class AuditTail:
    """The local cluster's audit log from now on, whole lines only; a rotated file is read from its beginning."""

    _offset: int = 0
    _inode: int = 0

    def __post_init__(self) -> None:
        stat = LOG.stat()
        self._offset, self._inode = stat.st_size, stat.st_ino

    def made(self) -> Iterator[Made]:
        """Yield what the operator has created or applied since the last call."""
        for event in self._events():
            reference = event.get("objectRef") or {}
            wrote = event.get("verb") in ("create", "patch") and event.get("stage") == "ResponseComplete"
            if not wrote or event.get("user", {}).get("username") != OPERATOR or reference.get("namespace") != TEAM:
                continue
            if event.get("responseStatus", {}).get("code", 0) >= 300 or reference.get("subresource"):
                continue
            if reference.get("apiGroup") in (GROUP, "events.k8s.io") or reference.get("resource") == "events":
                continue
            if "dryRun=All" in event.get("requestURI", ""):
                continue
            yield Made(reference.get("apiGroup", ""), reference["apiVersion"], reference["resource"], reference["name"])

    def _events(self) -> Iterator[Json]:
        stat = LOG.stat()
        if stat.st_ino != self._inode:
            self._offset, self._inode = 0, stat.st_ino
        with LOG.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)


class Mallory:
    """The namespace's admin, over HTTP with a client certificate of their own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mallory-")
        kubeconfig = users.ensure_kubeconfig(Path(self._folder.name) / "kubeconfig", "user-mallory", MALLORY, ())
        self.kubeconfig = kubeconfig
        pair = certificates.ensure_leaf("user-mallory", MALLORY, ())
        trust = ssl.create_default_context(cafile=str(certificates.authority().certificate))
        trust.load_cert_chain(str(pair.certificate), str(pair.key))
        self._http = httpx.Client(base_url=API_URL, verify=trust, timeout=30.0, trust_env=False)

    def close(self) -> None:
        self._http.close()
        self._folder.cleanup()

    def read(self, path: str) -> Json | None:
        """Return an object, or None where there is none."""
        answer = self._http.get(path)
        return dict(answer.json()) if answer.status_code == 200 else None

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """Return code and message of a request."""
        headers = MERGE if method == "PATCH" else {"Content-Type": "application/json"}
        answer = self._http.request(method, path, content=None if body is None else json.dumps(body), headers=headers)
        document = answer.json() if answer.content else {}
        return answer.status_code, str(document.get("message", ""))[:400]


def become_admin(mallory: Mallory) -> bool:
    """Give Mallory the ClusterRole `admin` in the namespace; tell whether the namespace is there yet."""
    binding = ("create", "rolebinding", "mallory-admin", "--clusterrole=admin", f"--user={MALLORY}", "-n", TEAM)
    admin = [program("kubectl"), f"--kubeconfig={users.kubeconfig('platform-admin')}"]
    subprocess.run([*admin, *binding], capture_output=True, check=False)
    return mallory.read(f"/api/v1/namespaces/{TEAM}/configmaps") is not None


@dataclass(eq=False)
class Adversary(threading.Thread):
    """Acts beside a test until it is stopped. What ended it before is raised when it is."""

    mallory: Mallory
    _error: BaseException | None = None
    _stop_asked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        """Act, and keep what went wrong: a thread's own words are lost otherwise."""
        try:
            self.act()
        except BaseException as error:
            self._error = error

    def act(self) -> None:
        """Act until ``_stop_asked``."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the thread. Raises what ended it before."""
        self._stop_asked.set()
        self.join(timeout=60)
        if self._error is not None:
            raise self._error


@dataclass(eq=False)
class HostileAdmin(Adversary):
    """Follows the operator and tries; what came of it is in ``tried``."""

    tried: list[Tried] = field(default_factory=list)
    seen: set[Made] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tail = AuditTail()

    def act(self) -> None:
        """Try everything on each object once, as soon as the audit log tells of it."""
        while not become_admin(self.mallory) and not self._stop_asked.wait(1.0):
            pass
        for made in self._there():
            self._meet(made)
        while not self._stop_asked.wait(0.5):
            for made in self._tail.made():
                self._meet(made)

    @property
    def admitted(self) -> list[Tried]:
        """Tries that the API server let through."""
        return [one for one in self.tried if one.admitted]

    def _there(self) -> Iterator[Made]:
        """Yield what an earlier run left: the operator writes none of it again while it is as it should be."""
        for resource, (group, version) in KINDS.items():
            found = self.mallory.read(f"{Made(group, version, resource, '').collection}?labelSelector={OURS}") or {}
            for one in found.get("items", []):
                yield Made(group, version, resource, one["metadata"]["name"])

    def _meet(self, made: Made) -> None:
        if made not in self.seen:
            self.seen.add(made)
            self._try_all(made)

    def _try_all(self, made: Made) -> None:
        live = self.mallory.read(made.path)
        if live is None:
            return
        labels = live["metadata"].get("labels") or {}
        unlabelled = {"metadata": {"labels": dict.fromkeys(labels)}}
        self._try(made, "relabel", "PATCH", made.path, {"metadata": {"labels": {"mallory": "was-here"}}})
        self._try(made, "take the labels off", "PATCH", made.path, unlabelled)
        self._try(made, "take the owner off", "PATCH", made.path, {"metadata": {"ownerReferences": None}})
        if made.resource in CHANGES:
            self._try(made, "change", "PATCH", made.path, CHANGES[made.resource])
        self._try(made, "replace", "PUT", made.path, {**live, "metadata": _bare(live, {}, made.name)})
        self._try(made, "delete", "DELETE", made.path)
        if labels:
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            self._try(made, "delete with all its like", "DELETE", f"{made.collection}?labelSelector={selector}")
        for name in {made.name, *following(made.name)}:
            for what, kept in (("with", labels), ("without", {})):
                copy = {**live, "metadata": _bare(live, kept, name)}
                copy.pop("status", None)
                self._try(made, f"make {name} {what} labels", "POST", made.collection, _creatable(made, copy))

    def _try(self, made: Made, what: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        code, message = self.mallory.send(method, path, body)
        self.tried.append(Tried(made, what, code, message))


def following(name: str) -> set[str]:
    """Return the names that come next by form: of the next attempt, and of another object with such a name."""
    bumped = re.sub(r"-(\d)-", lambda found: f"-{int(found[1]) + 1}-", name)
    return {bumped, f"{name[:-1]}{'0' if name[-1] != '0' else '1'}"} - {name}


def _bare(live: Json, labels: Mapping[str, str], name: str) -> Json:
    metadata: Json = {"name": name, "namespace": TEAM, "labels": dict(labels)}
    if labels and live["metadata"].get("ownerReferences"):
        metadata["ownerReferences"] = live["metadata"]["ownerReferences"]
    return metadata


def _creatable(made: Made, copy: Json) -> Json:
    """Return a copy without what the API server gives out itself, so that its validation lets it reach admission."""
    spec = dict(copy.get("spec") or {})
    if made.resource == "services" and spec.get("clusterIP") != "None":
        for key in ("clusterIP", "clusterIPs"):
            spec.pop(key, None)
    if made.resource == "persistentvolumeclaims":
        spec.pop("volumeName", None)
    if made.resource == "jobs":
        spec.pop("selector", None)
        template = dict(spec.get("template") or {})
        template["metadata"] = {}
        spec["template"] = template
    return {**copy, "spec": spec} if "spec" in copy else copy
