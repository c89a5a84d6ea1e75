"""vLLM outside governed namespaces: kubectl shows a warning, and nothing is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import helm
from tests.support.governed_namespace import Answer, Json, World, pod

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"
SERVERS: dict[str, Json] = {
    "image": {"image": "docker.io/vllm/vllm-openai:latest"},
    "digest of a mirror": {"image": "mirror.example/vLLM@sha256:" + "0" * 64},
    "argument": {"image": "example.invalid/own", "args": ["--enable-lora"]},
    "shell": {"image": "example.invalid/own", "command": ["sh", "-c", "serve --lora-modules a=/a"]},
}


def server(namespace: str, kind: str = "Pod", **container: Any) -> Json:
    made = pod(namespace, "server")
    made["spec"]["containers"] = [{"name": "main", **(container or SERVERS["image"])}]
    if kind == "Pod":
        return made
    labels = {"app": "server"}
    template = {"metadata": {"labels": labels}, "spec": {**made["spec"], "restartPolicy": "Never"}}
    if kind == "CronJob":
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
        return {**made, "apiVersion": "batch/v1", "kind": kind, "spec": spec}
    del template["spec"]["restartPolicy"]
    return {
        **made,
        "apiVersion": "apps/v1",
        "kind": kind,
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


@pytest.fixture(scope="module")
def elsewhere(world: World) -> Iterator[str]:
    """A namespace that nobody governs, once the rule acts."""
    name = f"{world.namespace}-elsewhere"
    world.kubectl("admin", "create", "namespace", name).passes()
    deadline = time.monotonic() + 60
    while not warned(world, world.create(ADMIN, server(name))):
        assert time.monotonic() < deadline, "the rule does not act after 60 s"
        time.sleep(0.3)
    yield name
    world.kubectl("admin", "delete", "namespace", name, "--wait=false").passes()


def warned(world: World, answer: Answer) -> bool:
    """Tell whether kubectl showed the warning of this world's rule; another's may govern other namespaces."""
    rule = f"Warning: Validation failed for ValidatingAdmissionPolicy '{world.namespace}-tunegate-outside'"
    lines = [line for line in answer.passes().err.splitlines() if line.startswith(rule)]
    return any("seems to run vLLM in namespace" in line for line in lines)


@pytest.mark.attack(48)
@pytest.mark.parametrize("way", SERVERS)
def test_a_server_of_adapters_outside_is_warned_of(world: World, elsewhere: str, way: str) -> None:
    assert warned(world, world.create(ADMIN, server(elsewhere, **SERVERS[way])))


@pytest.mark.attack(48)
@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_who_writes_a_workload_outside_gets_the_warning(world: World, elsewhere: str, kind: str) -> None:
    assert warned(world, world.create(ADMIN, server(elsewhere, kind)))


def test_nobody_is_warned_of_other_pods_nor_of_what_the_operator_serves(world: World, elsewhere: str) -> None:
    assert not warned(world, world.create(ADMIN, pod(elsewhere)))
    operator = "system:serviceaccount:tunegate-system:tunegate-operator"
    made = server(world.namespace, "Deployment", **SERVERS["shell"])
    assert not warned(world, world.create("admin", made, as_=operator, groups=("system:masters",)))


def test_the_warning_is_a_choice_of_the_site() -> None:
    silent = helm.render(helm.values(admission={"warnOfOtherServers": False}))
    assert not [one for one in silent if one["metadata"]["name"] == "tunegate-outside"]
    binding = helm.one(helm.render(helm.values()), "ValidatingAdmissionPolicyBinding", "tunegate-outside")
    assert binding["spec"]["validationActions"] == ["Warn", "Audit"]
