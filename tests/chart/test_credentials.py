"""No key, certificate or password comes out of a template: a hook makes them in the cluster, with few rights and not for long."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.chart.test_rendering import AUTHORITIES, CERTIFICATE, MATRIX, hook_arguments
from tests.support import helm

HOOK = "helm.sh/hook"
RANDOM = re.compile(r"\b(gen[A-Z]\w*|rand[A-Z]\w*|derivePassword|htpasswd|bcrypt|uuidv4|encryptAES)\b")
LOOK_UP = re.compile(r'lookup "[^"]*" "(\w+)"')


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.attack(30)
def test_no_manifest_holds_a_secret_or_differs_from_one_rendering_to_the_next(name: str) -> None:
    values = helm.values(**MATRIX[name])
    arguments = ["template", "tunegate", str(helm.CHART), "--namespace", helm.SYSTEM]
    first, second = (helm.run(arguments, values) for _ in range(2))
    assert first.stdout == second.stdout != ""
    assert "PRIVATE KEY" not in first.stdout
    assert [obj for obj in helm.render(values) if obj["kind"] == "Secret"] == []


@pytest.mark.attack(30)
def test_no_template_makes_or_reads_a_secret() -> None:
    """Rendering without a cluster shows nothing of what `lookup` would bring into a manifest."""
    templates = [*helm.CHART.rglob("templates/**/*.yaml"), *helm.CHART.rglob("templates/**/*.tpl")]
    source = "\n".join(file.read_text() for file in templates)
    assert len(templates) > 15
    assert RANDOM.findall(source) == []
    assert set(LOOK_UP.findall(source)) == {"EndpointSlice", "Service"}
    assert source.count("(lookup ") == len(LOOK_UP.findall(source))


@pytest.mark.parametrize("name", MATRIX)
def test_everything_of_the_hook_comes_before_the_release_and_goes_when_it_is_done(name: str) -> None:
    objects = helm.render(helm.values(**MATRIX[name]))
    hooks = [obj for obj in objects if HOOK in obj["metadata"].get("annotations", {})]
    assert {obj["metadata"]["name"] for obj in hooks} == {"tunegate-credentials"}
    own = [obj for obj in objects if "tunegate-credentials" in json.dumps(obj)]
    assert own == hooks, "something that stays names the hook's account"
    for obj in hooks:
        annotations: dict[str, Any] = obj["metadata"]["annotations"]
        assert annotations[HOOK] == "pre-install,pre-upgrade"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert (int(annotations["helm.sh/hook-weight"]) < 0) is (obj["kind"] != "Job")


def test_the_hook_reads_no_key_that_signs_for_the_operator() -> None:
    rules = helm.one(helm.render(helm.values()), "Role", "tunegate-credentials")["rules"]
    unbound = [rule for rule in rules if "resourceNames" not in rule]
    assert {tuple(rule["verbs"]) for rule in unbound} == {("create",)}
    named = {name for rule in rules for name in rule.get("resourceNames", [])}
    assert not named & {"tunegate-ledger-key", "tunegate-registry-token"}
    assert not {verb for rule in rules for verb in rule["verbs"]} & {"list", "watch", "deletecollection", "*"}
    deleted = {name for rule in rules if "delete" in rule["verbs"] for name in rule["resourceNames"]}
    assert deleted == {"tunegate-counted-kinds"}


def test_the_hook_talks_to_the_api_server_only() -> None:
    objects = helm.render(helm.values(networkPolicies={"apiServerCIDRs": ["10.0.0.1/32"]}))
    policy = helm.one(objects, "NetworkPolicy", "tunegate-credentials")
    labels = helm.one(objects, "Job", "tunegate-credentials")["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["ingress"] == []
    names, api = policy["spec"]["egress"]
    assert {entry["port"] for entry in names["ports"]} == {53}
    assert api["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    other = helm.one(objects, "NetworkPolicy", "tunegate-operator")["spec"]["podSelector"]["matchLabels"]
    assert not other.items() <= labels.items(), "the operator's way to the stores is not the hook's"


def test_the_hook_is_asked_for_what_the_values_need() -> None:
    stores = ["--server=registry", "--server=mlflow", "--server=exchange"]
    assert hook_arguments(helm.render(helm.values(caBundle=CERTIFICATE))) == [
        "--namespace=tunegate-system", *stores, "--ledger-key", AUTHORITIES,
    ]  # fmt: skip
    assert "--server=mlflow" not in hook_arguments(helm.render(helm.values(**MATRIX["no lineage"])))
