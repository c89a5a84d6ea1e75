"""An application that uses the served model: a pod of its own namespace with its own Kubernetes token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tunegate_demo.failure import DemoFailure
from tunegate_demo.inputs import TEAM
from tunegate_demo.kubectl import Kubectl

NAMESPACE = "licenses-app"
POD = "application"
ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1] + "/v1/chat/completions", data=sys.stdin.buffer.read(), headers={
    "Content-Type": "application/json",
    "Authorization": "Bearer " + open("/var/run/secrets/tunegate/token").read().strip()})
try:
    print(urllib.request.urlopen(request, timeout=120).read().decode())
except urllib.error.HTTPError as refusal:
    sys.exit(f"{refusal.code} {refusal.read().decode()}")
"""


@dataclass(frozen=True)
class Application:
    """Asks the gateway of a server."""

    admin: Kubectl
    server: str

    def start(self, image: str) -> None:
        """Start the pod and wait for it."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self.admin.apply(json.dumps(namespace))
        if (self.admin.get("pod", POD, NAMESPACE) or {}).get("status", {}).get("phase") != "Running":
            self.admin.run("-n", NAMESPACE, "delete", "pod", POD, "--ignore-not-found", "--grace-period=1")
            self.admin.run("create", "-f", "-", document=json.dumps(_pod(image)))
        self.admin.run("-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=120s")

    def attempt(self, model: str, messages: list[dict[str, str]]) -> tuple[int, str]:
        """Return exit code and text of one question."""
        body = json.dumps({"model": model, "messages": messages, "temperature": 0, "max_tokens": 64})
        url = f"http://{self.server}.{TEAM}.svc"
        done = self.admin.attempt("-n", NAMESPACE, "exec", "-i", POD, "--", "python3", "-c", ASK, url, document=body)
        return done.returncode, done.stdout or done.stderr

    def ask(self, model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Return the gateway's answer. Raises DemoFailure with its refusal."""
        code, text = self.attempt(model, messages)
        if code:
            raise DemoFailure(f"the gateway refused {model}: {text.strip()}", f"kubectl -n {TEAM} get modelservers")
        answer: dict[str, Any] = json.loads(text)
        return answer


def _pod(image: str) -> dict[str, object]:
    token = {"serviceAccountToken": {"audience": "tunegate-gateway", "path": "token", "expirationSeconds": 3600}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "application",
                    "image": image,
                    "command": ["sleep", "86400"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/tunegate", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "token", "projected": {"sources": [token]}}],
        },
    }
