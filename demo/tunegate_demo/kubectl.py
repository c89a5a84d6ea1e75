"""kubectl as a person would use it: one object per user."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate_demo.failure import DemoFailure

Object = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl with the credentials of one user."""

    binary: Path
    kubeconfig: Path
    arguments: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """Return the full command line."""
        return [str(self.binary), f"--kubeconfig={self.kubeconfig}", *self.arguments, *arguments]

    def attempt(self, *arguments: str, document: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return how it ended, good or bad."""
        return subprocess.run(
            self.command(*arguments), input=document, capture_output=True, text=True, timeout=300, check=False
        )

    def run(self, *arguments: str, document: str | None = None) -> str:
        """Run kubectl and return its output. Raises DemoFailure with kubectl's own words."""
        done = self.attempt(*arguments, document=document)
        if done.returncode:
            raise DemoFailure(
                f"kubectl {' '.join(arguments[:4])} failed: {done.stderr.strip()}",
                "read the message; `kubectl get events -A` shows more",
            )
        return done.stdout

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, or None where there is none."""
        scope = ["-n", namespace] if namespace else []
        out = self.run("get", kind, name, *scope, "-o", "json", "--ignore-not-found")
        return json.loads(out) if out.strip() else None

    def require(self, kind: str, name: str, namespace: str = "") -> Object:
        """Return one object. Raises DemoFailure where there is none."""
        found = self.get(kind, name, namespace)
        if found is None:
            raise DemoFailure(f"{kind} {namespace}/{name} is gone", "did somebody delete it? Run again")
        return found

    def items(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Return the objects of a kind."""
        scope = ["-n", namespace] if namespace else []
        chosen = ["-l", selector] if selector else []
        found: list[Object] = json.loads(self.run("get", kind, *scope, *chosen, "-o", "json"))["items"]
        return found

    def apply(self, document: str) -> None:
        """Apply YAML or JSON on the server's side."""
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", document=document)

    def watch(
        self,
        kind: str,
        name: str,
        namespace: str,
        *,
        until: Callable[[Object], bool],
        show: Callable[[Object], None],
        timeout: float,
    ) -> Object:
        """Read the object every two seconds, show it, and return it when ``until`` holds.

        Raises DemoFailure when ``timeout`` seconds passed: with status and events of the object.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(kind, name, namespace)
            if found is not None:
                show(found)
                if until(found):
                    return found
            if time.monotonic() > deadline:
                raise DemoFailure(
                    f"{kind}/{name} did not get there within {timeout:.0f} s",
                    f"kubectl -n {namespace} describe {kind} {name}",
                    self.explain(kind, name, namespace),
                )
            time.sleep(2)

    def explain(self, kind: str, name: str, namespace: str) -> str:
        """Return what a person would look at after a failure: status, events, last log lines of the pods."""
        scope = ["-n", namespace] if namespace else []
        parts = [
            self.attempt("describe", kind, name, *scope).stdout[-4000:],
            self.attempt("get", "pods", *scope, "-o", "wide").stdout,
            self.attempt("get", "events", *scope, "--sort-by=.lastTimestamp").stdout[-3000:],
        ]
        for pod in self.items("pods", namespace):
            if pod["status"].get("phase") in {"Failed", "Running", "Pending"}:
                pod_name = pod["metadata"]["name"]
                logs = self.attempt("logs", pod_name, *scope, "--all-containers", "--tail=15").stdout
                parts.append(f"--- last lines of {pod_name}\n{logs}")
        return "\n".join(parts)
