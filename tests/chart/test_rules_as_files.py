"""The admission rules as files for the API server: the same as those that are installed, but for their names."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support import helm

Json = dict[str, Any]
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
SUFFIX = ".static.k8s.io"
"""The API server takes no other names from files, and none of these through the API (Kubernetes 1.37)."""


def rules(**changes: Any) -> dict[tuple[str, str], Json]:
    content = helm.values(admission=changes)
    done = helm.run(
        ["template", "tunegate", str(helm.CHART), "-n", helm.SYSTEM, "--show-only", "templates/admission/*.yaml"],
        content,
    )
    assert done.returncode == 0, done.stderr
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one["spec"] for one in found}


def test_rules_as_files_are_the_installed_ones_under_names_that_the_api_server_reserves() -> None:
    files, installed = rules(asFiles=True), rules()
    # Files may not speak of objects that the API server would have to ask for: those rules are installed in every case.
    asking = {name for (_, name), spec in installed.items() if {"paramKind", "paramRef"} & set(spec)}
    assert asking == {"tunegate-quotas"}
    installed = {(kind, name): spec for (kind, name), spec in installed.items() if name not in asking}
    assert {kind for kind, _ in files} == set(KINDS)
    assert set(files) == {(kind, name + SUFFIX) for kind, name in installed}
    for (kind, name), spec in installed.items():
        wanted = {**spec, "policyName": spec["policyName"] + SUFFIX} if "policyName" in spec else spec
        assert files[kind, name + SUFFIX] == wanted


def test_the_operator_expects_the_installed_names() -> None:
    (content,) = [
        one["data"]["rules.yaml"]
        for one in helm.render(helm.values())
        if one["kind"] == "ConfigMap" and "rules.yaml" in one.get("data", {})
    ]
    expected = {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(content) if one}
    assert expected == set(rules())
