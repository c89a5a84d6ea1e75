"""A base model from a Hub mirror that pods reach: the installed operator has it copied and hashed.

Runs after the demo, whose base model the mirror serves; the mirror listens on the pods' gateway, which is this node.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import pytest

from tests.e2e.administrator import Json, kubectl
from tests.support.hub_mirror import running_mirror
from tunegate_local.settings import GATEWAY

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(900)]
SYSTEM = "tunegate-system"


def test_a_base_model_of_a_mirror_has_the_digest_of_the_same_files_on_a_claim(tmp_path: Path) -> None:
    models: list[Json] = json.loads(kubectl("get", "basemodels", "-o", "json"))["items"]
    known = next(model for model in models if model["spec"]["source"].startswith("pvc://"))
    claim, _, path = known["spec"]["source"].removeprefix("pvc://").partition("/")
    volume_name = json.loads(kubectl("-n", SYSTEM, "get", "pvc", claim, "-o", "json"))["spec"]["volumeName"]
    folder = Path(json.loads(kubectl("get", "pv", volume_name, "-o", "json"))["spec"]["hostPath"]["path"]) / path
    name = f"mirrored-{secrets.token_hex(3)}"
    with running_mirror(tmp_path, address=GATEWAY) as mirror:
        commit = mirror.put("acme/base", {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
        hub = {"endpoint": mirror.url, "size": "2Gi"}
        spec = {**known["spec"], "source": f"hf://acme/base@{commit}", "hub": hub}
        document = {"apiVersion": known["apiVersion"], "kind": "BaseModel", "metadata": {"name": name}, "spec": spec}
        kubectl("create", "-f", "-", document=document)
        status: Json = {}
        deadline = time.monotonic() + 600
        while status.get("phase") not in ("Ready", "Failed"):
            assert time.monotonic() < deadline, kubectl("describe", "basemodel", name)
            time.sleep(1)
            status = json.loads(kubectl("get", "basemodel", name, "-o", "json")).get("status", {})
    kubectl("delete", "basemodel", name)

    assert status["phase"] == "Ready", status["message"]
    assert status["manifestDigest"] == known["status"]["manifestDigest"]
