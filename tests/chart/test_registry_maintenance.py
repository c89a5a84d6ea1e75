"""The chart's registry in each kind of maintenance: what it lets anybody delete or write, and who reads its volume."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support import helm
from tests.support.chart_registry import MAINTENANCE

Json = dict[str, Any]


def rendered(maintenance: str) -> tuple[Json, Json]:
    """Return the registry's configuration and its pod."""
    objects = helm.render(helm.values(registry={"maintenance": maintenance}))
    (config,) = [
        one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "tunegate-registry"
    ]
    return yaml.safe_load(config["data"]["config.yml"]), dict(helm.pod_specs(objects))["tunegate-registry"]


@pytest.mark.parametrize("maintenance", MAINTENANCE)
def test_only_maintenance_deletes_or_stops_writes(maintenance: str) -> None:
    storage = rendered(maintenance)[0]["storage"]
    wanted = MAINTENANCE[maintenance]
    assert storage["delete"] == wanted["delete"]
    assert storage["maintenance"].get("readonly") == wanted.get("maintenance", {}).get("readonly")


@pytest.mark.parametrize("maintenance", MAINTENANCE)
def test_garbage_is_collected_before_a_registry_that_takes_no_writes_and_never_with_untagged_manifests(
    maintenance: str,
) -> None:
    """`--delete-untagged` would delete every result: none has a tag."""
    configuration, spec = rendered(maintenance)
    before = [container["args"] for container in spec.get("initContainers", ())]
    assert before == ([["garbage-collect", "/etc/tunegate/registry/config.yml"]] if maintenance == "Collect" else [])
    assert bool(before) == ("readonly" in configuration["storage"]["maintenance"])
    assert "untagged" not in json.dumps(spec)


def test_the_registry_that_was_there_has_ended_before_garbage_is_collected() -> None:
    objects = helm.render(helm.values(registry={"maintenance": "Collect"}))
    (deployment,) = [
        one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == "tunegate-registry"
    ]
    assert (deployment["spec"]["strategy"], deployment["spec"]["replicas"]) == ({"type": "Recreate"}, 1)


def test_who_reads_the_volume_cannot_write_to_it_and_has_no_key() -> None:
    (reader,) = [one for one in rendered("")[1]["containers"] if one["name"] == "volume"]
    mounts = {one["name"]: one for one in reader["volumeMounts"]}
    assert all(mounts[name]["readOnly"] for name in ("data", "tls", "token"))
    assert reader["command"] == ["python", "-m", "tunegate", "registry-volume"]


def test_only_the_operator_may_reach_who_reads_the_volume() -> None:
    objects = helm.render(helm.values())
    (policy,) = [
        one for one in objects if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "tunegate-registry"
    ]
    (rule,) = [one for one in policy["spec"]["ingress"] if {"port": 5001, "protocol": "TCP"} in one["ports"]]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    told = helm.environment(objects)
    assert told["TUNEGATE_REGISTRY_VOLUME_URL"] == "https://tunegate-registry.tunegate-system.svc:5001"
