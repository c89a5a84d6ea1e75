"""Which values the chart takes, and what it says to those that it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support import helm

SCHEMA = json.loads((helm.CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((helm.CHART / "values.yaml").read_text())


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, entry in schema.get("properties", {}).items():
        yield f"{path}.{name}", entry
        yield from properties(entry, f"{path}.{name}")


def keys(values: Any, schema: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of values as far as the schema names their keys."""
    for name, value in values.items():
        yield f"{path}.{name}"
        inner = schema.get("properties", {}).get(name, {})
        if isinstance(value, dict) and "properties" in inner:
            yield from keys(value, inner, f"{path}.{name}")


def test_every_value_is_described() -> None:
    missing = [path for path, entry in properties(SCHEMA) if not entry.get("description")]
    assert not missing


def test_no_object_of_the_schema_lets_an_unknown_key_through() -> None:
    loose = [
        path
        for path, entry in properties(SCHEMA)
        if "properties" in entry and entry.get("additionalProperties") is not False
    ]
    assert not loose
    assert SCHEMA["additionalProperties"] is False


def test_schema_and_defaults_name_the_same_values() -> None:
    described = {path for path, _ in properties(SCHEMA) if path != ".global"}
    assert set(keys(DEFAULTS, SCHEMA)) == described


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"admission": {"gitOpsRequesters": ["erin"]}}, "/admission/gitOpsRequesters/0"),
        ({"nonsense": 1}, "additional properties 'nonsense' not allowed"),
        ({"images": {**helm.MINIMAL["images"], "operator": "registry.example/operator:latest"}}, "/images/operator"),
        ({"images": {**helm.MINIMAL["images"], "trainer": ""}}, "images.trainer is empty: give it by digest"),
        ({"images": {**helm.MINIMAL["images"], "mlflow": ""}}, "images.mlflow is empty"),
        ({"governedNamespaces": [{"name": "team-a"}]}, "missing property 'policy'"),
        ({"hubMirror": {"endpoint": "hub.example"}}, "/hubMirror/endpoint"),
        ({"governedNamespaces": [{"name": "a", "policy": "p"}, {"name": "a", "policy": "q"}]}, "names a twice"),
        ({"governedNamespaces": [{"name": helm.SYSTEM, "policy": "p"}]}, "cannot be governed"),
        ({"governedNamespaces": [{"name": "kube-system", "policy": "p"}]}, "cannot be governed"),
        ({"operator": {"replicas": 0}}, "/operator/replicas"),
        ({"operator": {"logLevel": "loud"}}, "value must be one of 'DEBUG'"),
        ({"operator": {"resources": {"limits": {"memory": "lots"}}}}, "/operator/resources/limits/memory"),
        ({"ledger": {"checkpointMinutes": 0}}, "/ledger/checkpointMinutes"),
        ({"ledger": {"rereadHours": 0}}, "/ledger/rereadHours"),
        ({"ledger": {"keySecret": "Not A Name"}}, "/ledger/keySecret"),
        ({"ledger": {"anchorBucket": {"name": "Worm"}}}, "/ledger/anchorBucket/name"),
        ({"ledger": {"syslog": "logs.example"}}, "/ledger/syslog"),
        ({"caBundle": "not a certificate"}, "/caBundle"),
        ({"registry": {"enabled": False}}, "registry.external.host must say where"),
        ({"registry": {"enabled": False, "external": {"host": "https://registry"}}}, "/registry/external/host"),
        ({"mlflow": {"enabled": False, "external": {"uri": "mlflow:5000"}}}, "/mlflow/external/uri"),
        ({"networkPolicies": {"gatewayFrom": []}}, "/networkPolicies/gatewayFrom"),
    ],
)
def test_wrong_values_are_refused_with_their_place(changes: dict[str, Any], says: str) -> None:
    assert says in helm.refusal(helm.values(**changes))


def test_the_chart_lints() -> None:
    done = helm.run(["lint", str(helm.CHART), "--strict"], helm.MINIMAL)
    assert done.returncode == 0, done.stdout + done.stderr
