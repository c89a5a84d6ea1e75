"""Jobs stay as they were asked for even where the CRD no longer says so: the admission rule repeats it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.builders import make_finetunejob
from tests.support.governed_namespace import Answer, Json, World, as_list, render, scoped
from tunegate.api.finetunejob.spec import MUTABLE, FineTuneJobSpec

pytestmark = pytest.mark.cluster
MAY_CHANGE: Json = dict(zip(MUTABLE, (True, 60), strict=True))
FIELDS = [field.alias or name for name, field in FineTuneJobSpec.model_fields.items()]
OPTIONAL: Json = {"adapter": {"uri": "oci://a"}, "economics": {"currency": "EUR"}, "poolRef": {"name": "pool"}}
PLURAL = "ownjobs"
"""Not ours: whoever asks kubectl for a finetunejob means the real one, also while this test runs."""
REFUSAL = "FineTuneJob cannot change after creation"


@dataclass
class Loose:
    """A job of a kind that is called as ours, in a group of its own and with a CRD without any rule."""

    world: World
    job: Json

    def patch(self, change: Json) -> Answer:
        where = (f"{PLURAL}.{self.job['apiVersion'].partition('/')[0]}", "job", "-n", self.world.namespace)
        words = ("--dry-run=server", "--type=merge", "-p", json.dumps({"spec": change}))
        return self.world.kubectl("admin", "patch", *where, *words)


def kind_without_rules(group: str) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "FineTuneJob", "listKind": "FineTuneJobList", "plural": PLURAL, "singular": "ownjob"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }  # fmt: skip


def rule_for(group: str, namespace: str) -> list[Json]:
    """Return the chart's policy and binding with nothing changed but the group and the plural that they look at."""
    rule = [one for one in render(namespace) if one["metadata"]["name"] == "tunegate-immutable"]
    policy, binding = scoped(rule, namespace, namespace)
    policy["spec"]["matchConstraints"]["resourceRules"][0] |= {"apiGroups": [group], "resources": [PLURAL]}
    del binding["spec"]["matchResources"]["objectSelector"]
    return [policy, binding]


@pytest.fixture(scope="module")
def loose(kubeconfig: Callable[[str], str]) -> Iterator[Loose]:
    name = f"t-loose-{secrets.token_hex(3)}"
    world, group = World(name, f"{name}-system", kubeconfig), f"{name}.example"
    crd, rule = kind_without_rules(group), rule_for(group, name)
    job = {**make_finetunejob("job", name, **OPTIONAL), "apiVersion": f"{group}/v1alpha1"}
    world.kubectl("admin", "create", "namespace", name).passes()
    try:
        world.kubectl("admin", "apply", "-f", "-", stdin=as_list([crd, *rule])).passes()
        world.kubectl("admin", "wait", f"crd/{PLURAL}.{group}", "--for=condition=Established").passes()
        world.kubectl("admin", "create", "-f", "-", stdin=job).passes()
        made = Loose(world, job)
        deadline = time.monotonic() + 60
        while made.patch({"serverRef": {"name": "other"}}).code == 0:
            assert time.monotonic() < deadline, "the rule does not act after 60 s"
            time.sleep(0.3)
        yield made
    finally:
        world.kubectl("admin", "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=as_list([*rule, crd]))
        world.kubectl("admin", "delete", "namespace", name, "--wait=false")


@pytest.mark.attack(8)
@pytest.mark.parametrize("field", [field for field in FIELDS if field not in MAY_CHANGE])
def test_no_field_of_a_job_changes_comes_or_goes_without_the_crds_rule(loose: Loose, field: str) -> None:
    loose.patch({field: {"another": "value"}}).refused(REFUSAL)
    if field in loose.job["spec"]:
        loose.patch({field: None}).refused(REFUSAL)


def test_a_job_is_suspended_and_cleared_later_as_its_crd_allows(loose: Loose) -> None:
    for change in (MAY_CHANGE, {"suspend": False}, {"suspend": None}):
        loose.patch(change).passes()
