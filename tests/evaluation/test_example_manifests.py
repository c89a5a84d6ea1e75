"""The example's manifests are what the API models accept, and agree with each other and with the data builder."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import pytest
import yaml

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate_trainer.evaluation.pattern import check_pattern

EXAMPLE = Path(__file__).parents[2] / "examples" / "licenses"
KINDS: dict[str, type[Resource]] = {
    "computepool": ComputePool,
    "basemodel": BaseModel,
    "approvalpolicy": ApprovalPolicy,
    "modelserver": ModelServer,
    "evaluationsuite": EvaluationSuite,
    "finetunejob": FineTuneJob,
    "modelrelease": ModelRelease,
}
VALUES = {
    "ENGINE_IMAGE": "registry.example/engine@sha256:" + "a" * 64,
    "SUITE_SHORT": "bbbbbbbb",
    "SUITE_DIGEST": "sha256:" + "b" * 64,
    "DATASET_DIGEST": "sha256:" + "c" * 64,
    "RUN": "r1",
    "JOB_UID": "6f1c0e0e-0000-4000-8000-000000000000",
}


def fill(text: str) -> str:
    """Fill in the placeholders as envsubst does: a `$` that names nothing stays."""
    filled = Template(text).safe_substitute(VALUES)
    assert "${" not in filled
    return filled


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(fill((EXAMPLE / f"{name}.yaml").read_text()))
    return document


def unknown_fields(given: Any, known: Any, path: str = "") -> list[str]:
    """Return the fields that reading dropped: the API server would refuse them."""
    if isinstance(given, dict) and isinstance(known, dict):
        missing = [f"{path}.{key}" for key in given if key not in known]
        return missing + [
            hit for key in given if key in known for hit in unknown_fields(given[key], known[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(known, list):
        return [hit for left, right in zip(given, known, strict=True) for hit in unknown_fields(left, right, path)]
    return []


@pytest.mark.parametrize("name", KINDS)
def test_manifest_is_accepted_and_has_no_unknown_field(name: str) -> None:
    document = load(name)
    resource = KINDS[name].model_validate(document)
    assert document["kind"] == KINDS[name].KIND.kind
    assert ("namespace" in document["metadata"]) == (KINDS[name].KIND.scope == "Namespaced")
    assert unknown_fields(document["spec"], resource.to_dict()["spec"]) == []


def test_manifests_name_each_other() -> None:
    job, release = load("finetunejob"), load("modelrelease")
    server, suite, policy = load("modelserver"), load("evaluationsuite"), load("approvalpolicy")
    assert job["spec"]["serverRef"]["name"] == server["metadata"]["name"]
    assert job["spec"]["suiteRef"]["name"] == suite["metadata"]["name"]
    assert {"name": suite["metadata"]["name"]} in policy["spec"]["requiredSuiteRefs"]
    assert server["spec"]["baseModelRef"]["name"] == load("basemodel")["metadata"]["name"]
    assert server["spec"]["poolRef"]["name"] == load("computepool")["metadata"]["name"]
    assert release["spec"]["jobRef"]["name"] == job["metadata"]["name"]
    assert release["spec"]["modelName"] in [route["name"] for route in server["spec"]["routes"]]
    assert job["spec"]["method"]["rank"] <= server["spec"]["profile"]["maxLoraRank"]
    assert job["spec"]["dataset"]["classification"] in policy["spec"]["allowedData"]


def builder() -> ModuleType:
    specification = importlib.util.spec_from_file_location("prepare_data", EXAMPLE / "prepare_data.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["prepare_data"] = module
    specification.loader.exec_module(module)
    return module


def test_suite_has_the_builders_schema_and_a_pattern_that_is_allowed() -> None:
    suite = load("evaluationsuite")["spec"]
    assert json.loads(suite["task"]["jsonSchema"]) == builder().SCHEMA
    check_pattern(suite["baselines"]["regex"], suite["baselines"]["regexTemplate"])
