"""Keys and passwords of the installed chart stand in their Secrets and nowhere else: after a whole way of a model.

Runs after the demo, so that logs, records and reports of everything are there to be searched.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.administrator import kubectl
from tests.e2e.faults import SYSTEM, TEAM
from tests.e2e.images import MEDIA_TYPES
from tests.e2e.leaks import places_of, secrets_in
from tunegate.maintenance.authority import new_key, private_pem, token_pair

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(900)]
HELM = "helm.sh/release.v1"
DEPLOYMENT = "deployment/tunegate-operator"
Json = dict[str, Any]


def items(namespace: str, kind: str) -> list[Json]:
    found: list[Json] = json.loads(kubectl("-n", namespace, "get", kind, "-o", "json"))["items"]
    return found


def named(namespace: str, obj: Json) -> str:
    return f"{obj['kind']} {namespace}/{obj['metadata']['name']}"


def objects_to_search() -> Iterator[tuple[str, str]]:
    """Yield the objects that people read, each as JSON under its name."""
    for kind in kubectl("api-resources", "--api-group=tunegate.io", "-o", "name").split():
        listed = kubectl("get", kind, "--all-namespaces", "-o", "json")
        yield f"all {kind}", listed
    for namespace in (SYSTEM, TEAM, "default"):
        for kind in ("configmaps", "events", "pods", "jobs", "deployments"):
            for obj in items(namespace, kind):
                yield named(namespace, obj), json.dumps(obj)


def logs() -> Iterator[tuple[str, str]]:
    """Yield the logs of every container that ran."""
    for namespace in (SYSTEM, TEAM):
        for pod in items(namespace, "pods"):
            states = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
            for state in states:
                if "waiting" not in state["state"]:
                    name = pod["metadata"]["name"]
                    log = kubectl("-n", namespace, "logs", name, "-c", state["name"], "--tail=-1")
                    yield f"log of {namespace}/{name} {state['name']}", log


def releases(stored: list[Json]) -> Iterator[tuple[str, str]]:
    """Yield what Helm keeps: manifests, values, notes and hooks of each revision."""
    for secret in stored:
        if secret["type"] == HELM:
            packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
            yield f"release {secret['metadata']['name']}", gzip.decompress(packed).decode()


def image() -> Iterator[tuple[str, str]]:
    """Yield the operator image's own configuration, and the environment that its process has."""
    deployment = json.loads(kubectl("-n", SYSTEM, "get", DEPLOYMENT, "-o", "json"))
    name, _, digest = deployment["spec"]["template"]["spec"]["containers"][0]["image"].partition("@")
    host, _, repository = name.partition("/")
    with httpx.Client(base_url=f"http://{host}/v2/{repository}/", trust_env=False, follow_redirects=True) as client:
        manifest = client.get(f"manifests/{digest}", headers={"Accept": MEDIA_TYPES}).raise_for_status().json()
        configuration = client.get(f"blobs/{manifest['config']['digest']}").raise_for_status().text
    assert json.loads(configuration)["config"]["Env"]
    yield "image of the operator", configuration
    yield "environment of the operator", kubectl("-n", SYSTEM, "exec", DEPLOYMENT, "--", "env")


@pytest.fixture
def decoy() -> Iterator[str]:
    """Keys and a password of no use in a Secret, and copies of them in all the forms in which they could leak."""
    name = f"decoy-{secrets.token_hex(3)}"
    word, curve = secrets.token_urlsafe(24), private_pem(new_key()).decode()
    rsa = token_pair("decoy").files()["tls.key"].decode()
    der = "".join(line for line in curve.splitlines() if not line.startswith("-----"))
    copies = {
        "text": f"as text: {curve}",
        "indented": "pem: |\n" + "".join(f"    {line}\n" for line in rsa.splitlines()),
        "line": rsa.splitlines()[12],  # the first nine hold the public half
        "base64": json.dumps({"data": base64.b64encode(curve.encode()).decode()}),
        "der": f"MIIB{der}",
        "hex": base64.b64decode(der).hex(),
        "password": f"https://user:{word}@mlflow.example",
        "basic": "Basic " + base64.b64encode(f"tunegate-exchange:{word}".encode()).decode(),
    }
    metadata = {"namespace": SYSTEM, "labels": {"tunegate.io/decoy": name}}
    held = {"key.pem": curve, "tls.key": rsa, "password": word}
    documents: list[Json] = [{"kind": "Secret", "metadata": {**metadata, "name": name}, "stringData": held}]
    for form, text in copies.items():
        content = {"metadata": {**metadata, "name": f"{name}-{form}"}, "data": {"text": text}}
        documents.append({"kind": "ConfigMap", **content})
    packed = base64.b64encode(gzip.compress(json.dumps({"manifest": curve}).encode())).decode()
    release = {"metadata": {**metadata, "name": f"{name}-release"}, "type": HELM, "stringData": {"release": packed}}
    documents.append({"kind": "Secret", **release})
    try:
        for document in documents:
            kubectl("create", "-f", "-", document={"apiVersion": "v1", **document})
        yield name
    finally:
        kubectl("-n", SYSTEM, "delete", "secrets,configmaps", "-l", f"tunegate.io/decoy={name}")


@pytest.mark.attack(30)
def test_keys_and_passwords_stand_in_their_secrets_and_nowhere_else(decoy: str) -> None:
    stored = [secret for namespace in (SYSTEM, TEAM) for secret in items(namespace, "secrets")]
    kept = secrets_in([secret for secret in stored if secret["type"] != HELM])
    held = {secret.name.removeprefix(f"{SYSTEM}/") for secret in kept}
    assert {"tunegate-ledger-key key.pem", "tunegate-ca tls.key", "tunegate-registry-token tls.key"} <= held
    assert "tunegate-mlflow-users exchange" in held
    assert not [name for name in held if name.startswith(f"{TEAM}/") and "tracking" in name]

    places = {name: text for part in (objects_to_search(), logs(), releases(stored), image()) for name, text in part}
    assert len([name for name in places if name.startswith("log of")]) > 5
    assert len([name for name in places if name.startswith("release sh.helm")]) >= 2
    found = places_of(kept, places)

    planted = {
        *((f"{SYSTEM}/{decoy} key.pem", form) for form in ("text", "base64", "der", "hex", "release")),
        *((f"{SYSTEM}/{decoy} tls.key", form) for form in ("indented", "line")),
        *((f"{SYSTEM}/{decoy} password", form) for form in ("password", "basic")),
    }
    shown = {(name, place.rpartition(f"{decoy}-")[2]) for name, place in found if f"/{decoy} " in name}
    assert shown == planted, "the search misses what lies open"
    assert {(name, place) for name, place in found if f"/{decoy} " not in name} == set()
