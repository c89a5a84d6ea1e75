"""The pods of a server: verified before loaded, reached through the gateway only, with no more rights than needed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.builders import HUB_SOURCE
from tests.support.server_world import SERVER_UID, SETTINGS, START, World, base_model, release
from tunegate.api import serving
from tunegate.api.stage.configs import STAGE_CONFIG, CopyModelConfig
from tunegate.digests import document_digest, sha256
from tunegate.manifests.serving import BACKEND
from tunegate.reconcile.modelserver import planner
from tunegate.reconcile.modelserver.planner import CPU_SEQUENCES


@pytest.fixture
def world() -> World:
    made = World()
    made.spec |= {"clients": {"apiKeysSecretName": "keys"}, "strategy": "Surge"}
    made.put(release("one"))
    made.step()
    return made


def pod(world: World) -> dict[str, Any]:
    assert world.deployment is not None
    found: dict[str, Any] = world.deployment["spec"]["template"]["spec"]
    return found


def containers(world: World) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in [*pod(world)["initContainers"], *pod(world)["containers"]]}


def test_adapters_are_verified_before_the_engine_starts_and_the_engine_outlives_the_gateway(world: World) -> None:
    assert [one["name"] for one in pod(world)["initContainers"]] == ["check-base", "adapters", "engine"]
    assert "restartPolicy" not in containers(world)["check-base"], "the engine waits for its end"
    assert containers(world)["adapters"]["restartPolicy"] == containers(world)["engine"]["restartPolicy"] == "Always"
    assert [one["name"] for one in pod(world)["containers"]] == ["gateway"]


@pytest.mark.attack(20)
def test_the_engine_listens_on_a_socket_and_opens_no_port(world: World) -> None:
    engine = containers(world)["engine"]
    assert f"--uds={serving.ENGINE_SOCKET}" in engine["args"]
    assert not any(argument.startswith(("--host", "--port")) for argument in engine["args"])
    assert "ports" not in engine
    assert "--max-cpu-loras=17" in engine["args"]
    environment = {one["name"]: one["value"] for one in engine["env"]}
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_every_container_is_locked_down(world: World) -> None:
    assert pod(world)["automountServiceAccountToken"] is False
    assert pod(world)["securityContext"]["runAsNonRoot"] is True
    for one in containers(world).values():
        security = one["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_each_container_sees_only_what_it_needs(world: World) -> None:
    mounts = {
        name: {mount["name"]: mount.get("readOnly", False) for mount in one["volumeMounts"]}
        for name, one in containers(world).items()
    }
    assert {name: seen["adapters"] for name, seen in mounts.items() if "adapters" in seen} == {
        "adapters": False, "engine": True,
    }  # fmt: skip
    assert {name: seen["fetch"] for name, seen in mounts.items() if "fetch" in seen} == {
        "adapters": False, "gateway": True,
    }  # fmt: skip
    assert {name for name, seen in mounts.items() if "run" in seen} == {"engine", "gateway"}
    assert not any("registry" in seen for seen in mounts.values()), "the gateway hands the credential over"
    for secret in ("token", "api-keys"):
        assert [name for name, seen in mounts.items() if secret in seen] == ["gateway"]
    # The gateway only looks whether the files are still those that were hashed.
    assert mounts["check-base"]["base"] is mounts["engine"]["base"] is mounts["gateway"]["base"] is True


def test_a_sites_own_credential_is_seen_by_the_container_that_fetches_and_by_no_other() -> None:
    world = World(settings=replace(SETTINGS, signs_tokens=False))
    plan = world.step()
    readers = [n for n, one in containers(world).items() if "registry" in {m["name"] for m in one["volumeMounts"]}]
    assert readers == ["adapters"]
    role = next(obj for obj in plan.applies if obj["kind"] == "Role")
    assert [rule["resources"] for rule in role["rules"]] == [["configmaps"]]


@pytest.mark.attack(51)
def test_what_reads_the_documents_is_told_their_digest_in_the_deployment(world: World) -> None:
    (documents,) = world.documents.values()
    digest = document_digest(documents["data"])
    for name in ("check-base", "adapters", "gateway"):
        assert {m["name"] for m in containers(world)[name]["volumeMounts"]} >= {"documents"}
        assert containers(world)[name]["args"] == ["--config-digest", digest]
    readers = [n for n, one in containers(world).items() if "documents" in {m["name"] for m in one["volumeMounts"]}]
    assert readers == ["check-base", "adapters", "gateway"]


@pytest.mark.attack(58)
@pytest.mark.parametrize(
    ("source", "volume"),
    [("pvc://models/smollm2", "Open"), ("pvc://tunegate-models/smollm2", "Protected"), (HUB_SOURCE, "Copied")],
)
def test_the_status_says_who_could_replace_the_base_models_volume(source: str, volume: str) -> None:
    made, base = World(), base_model()
    hub = {"hub": {"endpoint": "https://hub.example"}} if source == HUB_SOURCE else {}
    made.base = base.model_validate({**base.to_dict(), "spec": {**base.spec.to_dict(), "source": source, **hub}})
    made.step()
    assert made.status["baseVolume"] == volume


def test_surge_keeps_every_pod_and_recreate_needs_no_room(world: World) -> None:
    assert world.deployment is not None
    assert world.deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    world.spec["strategy"] = "Recreate"
    world.step()
    assert world.deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_a_gateway_may_read_its_own_documents_and_credential_and_nothing_else(world: World) -> None:
    plan = world.step()
    role = next(obj for obj in plan.applies if obj["kind"] == "Role")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["tunegate-routes-server", "tunegate-adapters-server"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["tunegate-registry-server-serverui"],
            "verbs": ["get"],
        },
    ]


def test_everything_vanishes_with_the_server(world: World) -> None:
    plan = world.step()
    for obj in [*plan.applies, *plan.creates]:
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("ModelServer", SERVER_UID, True)


def test_the_documents_of_a_rollout_never_change(world: World) -> None:
    before = dict(world.config_maps)
    assert all(one["immutable"] is True and len(name) <= 63 for name, one in before.items())
    world.put(release("two", minute=3))
    world.step()
    assert len(world.documents) == 1
    world.spec["maxCpuLoras"] = 5
    world.step()
    assert len(world.documents) == 2
    assert "--max-cpu-loras=6" in containers(world)["engine"]["args"]
    assert all(world.config_maps[name] == one for name, one in before.items())


def test_no_gate_question_lies_in_a_config_map(world: World) -> None:
    assert world.adapters is not None
    assert world.adapters.adapters
    assert "messages" not in world.adapters.model_dump_json()


def mirrored(**hub: str) -> World:
    made, base = World(), base_model()
    made.base = base.model_validate(
        {**base.to_dict(), "spec": {**base.spec.to_dict(), "source": HUB_SOURCE, "hub": hub}}
    )
    made.put(release("one"))
    made.step()
    return made


def test_a_model_of_a_mirror_is_copied_into_the_pod_before_adapters_are_checked_against_it() -> None:
    world = mirrored(endpoint="https://hub.example", secretName="hub-reader", size="3Gi")
    volumes = {volume["name"]: volume for volume in pod(world)["volumes"]}
    (documents,) = world.documents.values()
    config = STAGE_CONFIG.validate_json(documents["data"]["copy-model.json"])

    assert [one["name"] for one in pod(world)["initContainers"]] == ["copy-model", "check-base", "adapters", "engine"]
    assert isinstance(config, CopyModelConfig)
    assert (config.path, config.manifest is not None) == ("/mnt/base/tiny-1b", True)
    copied = sha256(documents["data"]["copy-model.json"].encode())
    assert containers(world)["copy-model"]["args"] == [
        "--config", f"{serving.CONFIG_DIR}/copy-model.json", "--config-digest", copied,
    ]  # fmt: skip
    for name in ("check-base", "adapters", "gateway"):
        assert containers(world)[name]["args"] == ["--config-digest", document_digest(documents["data"])]
    assert volumes["base"] == {"name": "base", "emptyDir": {"sizeLimit": "3Gi"}}
    assert volumes["base-store"]["secret"] == {"secretName": "hub-reader", "optional": True}
    mounts = {
        name: {m["name"]: m.get("readOnly", False) for m in one["volumeMounts"]}
        for name, one in containers(world).items()
    }
    assert {name: seen["base"] for name, seen in mounts.items() if "base" in seen} == {
        "copy-model": False, "check-base": True, "engine": True, "gateway": True,
    }  # fmt: skip
    assert [name for name, seen in mounts.items() if "base-store" in seen] == ["copy-model"]
    security = containers(world)["copy-model"]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert f"--model={config.path}" in containers(world)["engine"]["args"]


def test_a_server_whose_model_comes_from_nowhere_says_so() -> None:
    world = mirrored(size="3Gi")

    assert world.deployment is None
    assert "hubMirror.endpoint" in world.status["message"]


def service_ports(world: World) -> list[dict[str, Any]]:
    service = next(one for one in world.step().applies if one["kind"] == "Service")
    found: list[dict[str, Any]] = service["spec"]["ports"]
    return found


@pytest.mark.attack(62)
def test_a_server_with_a_certificate_speaks_https_only(world: World) -> None:
    assert [port["port"] for port in service_ports(world)] == [80]
    world.spec |= {"tls": {"secretName": "certificate"}}
    assert service_ports(world) == [{"name": "https", "port": 443, "targetPort": "https", "protocol": "TCP"}]
    gateway = containers(world)["gateway"]
    assert [port["name"] for port in gateway["ports"]] == ["https", "status"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert gateway[probe]["httpGet"]["scheme"] == "HTTPS"
    assert gateway["resources"]["limits"]["memory"] == "1152Mi"
    assert {"name": "tls", "secret": {"secretName": "certificate"}} in pod(world)["volumes"]
    assert {"name": "tls", "mountPath": serving.TLS_DIR, "readOnly": True} in gateway["volumeMounts"]
    assert world.status["endpoint"] == "https://server.team.svc"


@pytest.mark.attack(62)
def test_without_its_certificate_a_server_says_so_and_does_not_start() -> None:
    world = World()
    world.spec |= {"tls": {"secretName": "certificate"}}
    world.put(release("one"))
    plan = planner.plan(replace(world.observed(), tls_usable=False), SETTINGS, START)
    assert not any(one["kind"] == "Deployment" for one in plan.applies)
    assert plan.status is not None
    assert "Secret certificate of spec.tls is missing" in plan.status["message"]
    ready = next(one for one in plan.status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "WaitingForCertificate")


@pytest.mark.attack(63)
def test_a_gateway_is_told_how_much_its_engine_and_its_server_take(world: World) -> None:
    def told() -> serving.ServerDocument:
        document = world.observed()
        plan = planner.plan(document, SETTINGS, START)
        made = next(one for one in plan.creates if "server.json" in one["data"])
        return serving.ServerDocument.model_validate_json(made["data"]["server.json"])

    assert (told().sequences, told().body_bytes, told().server_uid) == (CPU_SEQUENCES, 1024 * 1024, SERVER_UID)
    world.spec |= {"limits": {"concurrentAnswers": 12, "bodyKilobytes": 64}}
    assert (told().sequences, told().body_bytes) == (12, 64 * 1024)
    assert BACKEND in containers(world)["engine"]["args"]


def test_a_server_with_a_tool_parser_starts_its_engine_with_it(world: World) -> None:
    def flags() -> set[str]:
        return {one for one in containers(world)["engine"]["args"] if "tool" in one}

    without = world.observed().server
    assert flags() == set()
    world.spec |= {"toolParser": "hermes"}
    world.step()
    assert flags() == {"--enable-auto-tool-choice", "--tool-call-parser=hermes"}
    assert without.spec.tool_parser is None
    world.spec |= {"toolParser": "hermes --trust-remote-code"}
    with pytest.raises(ValidationError, match="toolParser"):
        world.observed()


READ_WORST = """
from pathlib import Path
from tunegate.gateway.bodies import check_body
raw = b'{"model": "m", "prompt": [' + b"{}," * ((8 << 20) // 3 - 16) + b"0]}"
check_body("/v1/completions", raw)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)  # What getrusage says begins with the memory of the process that started this one.
"""


@pytest.mark.attack(54)
@pytest.mark.parametrize("kilobytes", [1024, 8192])
def test_the_gateway_has_the_memory_that_two_of_the_largest_bodies_take(world: World, kilobytes: int) -> None:
    world.spec["limits"] = {"bodyKilobytes": kilobytes}
    world.step()
    memory = containers(world)["gateway"]["resources"]["limits"]["memory"]
    assert memory == {1024: "512Mi", 8192: "960Mi"}[kilobytes]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", READ_WORST], capture_output=True, text=True, check=True, env=path)
    assert kilobytes < 8192 or 2 * int(done.stdout) + 256 <= int(memory.removesuffix("Mi"))
