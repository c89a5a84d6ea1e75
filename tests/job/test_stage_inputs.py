"""How data, documents, models and earlier results reach a stage's pod, and who may write or see them."""

from __future__ import annotations

import json

import pytest

from tests.support.builders import HUB_SOURCE
from tests.support.job_world import WORKSPACE
from tests.support.stage_documents import job, world_objects
from tests.support.stage_objects import (
    GPU,
    IN_STORE,
    OPEN,
    REDACTED,
    REDACTING,
    STAGES,
    Json,
    containers,
    mirrored,
    objects,
)
from tunegate.api.stage.configs import STAGE_CONFIG, CopyModelConfig, DownloadConfig
from tunegate.api.stage.layout import MAX_DOCUMENT_BYTES
from tunegate.digests import sha256
from tunegate.manifests.sources import ClaimPath, HubPath, StorePath, claim_path, data_path, model_path


@pytest.mark.parametrize("stage", ["Validate", "Baseline", "Train", "Evaluate"])
def test_data_of_a_store_is_downloaded_first_by_the_one_container_that_sees_the_credential(stage: str) -> None:
    made = objects(stage, dataset=IN_STORE, workspace={"size": "2Gi"}, store_secret=OPEN)
    spec = made["Job"]["spec"]["template"]["spec"]
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["download.json"])
    assert isinstance(config, DownloadConfig)
    assert (config.bucket, config.key, config.path) == ("training", "sets/rows", "/mnt/dataset/rows")
    assert config.max_bytes == 2 * 2**30
    assert spec["initContainers"][0]["name"] == "download"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["dataset"]["emptyDir"] == {"sizeLimit": "2Gi"}
    assert volumes["dataset-store"]["secret"] == {"secretName": "bucket"}
    seen = {
        c["name"]: {m["name"]: m["readOnly"] for m in c["volumeMounts"] if "readOnly" in m} for c in containers(spec)
    }
    assert {name for name, mounts in seen.items() if "dataset-store" in mounts} == {"download"}
    assert {name: mounts["dataset"] for name, mounts in seen.items() if "dataset" in mounts} == {
        "download": False, "stage": True,
    }  # fmt: skip
    stage_config = json.loads(made["ConfigMap"]["data"]["stage.json"])
    assert stage_config["dataset"]["path"] == "/mnt/dataset/rows"


@pytest.mark.parametrize("stage", STAGES)
def test_documents_on_a_claim_are_seen_by_validation_and_baseline_and_bound_by_the_digest_found(stage: str) -> None:
    brought = {"documents": {"uri": "pvc://data/manuals", "digest": sha256(b"pinned")}}
    made = objects(stage, baseline=brought, documents_digest=sha256(b"found") if stage != "Validate" else None)
    spec = made["Job"]["spec"]["template"]["spec"]
    mounts = {m["mountPath"]: m.get("readOnly") for one in containers(spec) for m in one["volumeMounts"]}
    config = json.loads(made["ConfigMap"]["data"]["stage.json"])
    assert mounts.get("/mnt/documents") is (True if stage in ("Validate", "Baseline") else None)
    digest = {"Validate": sha256(b"pinned"), "Baseline": sha256(b"found")}.get(stage)
    assert config.get("documents") == ({"path": "/mnt/documents/manuals", "digest": digest} if digest else None)
    assert config.get("documentsDigest") == (sha256(b"found") if stage == "Evaluate" else None)


@pytest.mark.parametrize("stage", STAGES)
def test_documents_of_a_store_come_with_a_credential_of_their_own(stage: str) -> None:
    brought = {"documents": {"uri": "s3://manuals/2026", "secretName": "shelf"}}
    made = objects(stage, baseline=brought, documents_secret=OPEN, dataset=IN_STORE, store_secret=OPEN)
    spec = made["Job"]["spec"]["template"]["spec"]
    searched = stage in ("Validate", "Baseline")
    assert ("download-documents.json" in made["ConfigMap"]["data"]) == searched
    stores = {one["name"]: [m["name"] for m in one["volumeMounts"] if m["name"].endswith("-store")]
              for one in containers(spec)}  # fmt: skip
    assert stores.get("download-documents") == (["documents-store"] if searched else None)
    assert stores["stage"] == []
    if searched:
        config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["download-documents.json"])
        assert isinstance(config, DownloadConfig)
        assert (config.path, config.max_bytes) == ("/mnt/documents/2026", MAX_DOCUMENT_BYTES)
        assert stores["download"] == ["dataset-store"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert volumes["documents-store"]["secret"] == {"secretName": "shelf"}
        mount = next(m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "documents")
        assert mount == {"name": "documents", "mountPath": "/mnt/documents", "readOnly": True}


@pytest.mark.parametrize("stage", STAGES)
def test_a_model_of_a_mirror_is_copied_into_every_pod_that_reads_it(stage: str) -> None:
    made = objects(stage, base_model=mirrored(secretName="hub-reader", size="3Gi"))
    spec = made["Job"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    seen = {c["name"]: {m["name"]: m.get("readOnly", False) for m in c["volumeMounts"]} for c in containers(spec)}
    if stage == "Seal":
        assert "initContainers" not in spec
        assert "base" not in volumes
        return
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["copy-model.json"])
    assert isinstance(config, CopyModelConfig)
    assert (config.endpoint, config.repository, config.revision) == (
        "https://hub.example",
        "acme/tiny-1b",
        HUB_SOURCE[-40:],
    )
    assert (config.path, config.max_bytes, config.secret_name) == ("/mnt/base/tiny-1b", 3 * 2**30, "hub-reader")
    assert config.manifest == world_objects()["base_manifest"]
    assert spec["initContainers"][0]["name"] == "copy-model"
    assert volumes["base"]["emptyDir"] == {"sizeLimit": "3Gi"}
    assert volumes["base-store"]["secret"] == {"secretName": "hub-reader", "optional": True}
    assert {name for name, mounts in seen.items() if "base-store" in mounts} == {"copy-model"}
    readers = {"check-base", "engine", "stage"} if stage in ("Baseline", "Evaluate") else {"stage"}
    assert {name: mounts["base"] for name, mounts in seen.items() if "base" in mounts} == {
        "copy-model": False, **dict.fromkeys(readers, True),
    }  # fmt: skip
    assert json.loads(made["ConfigMap"]["data"]["stage.json"])["baseModel"]["path"] == "/mnt/base/tiny-1b"


def test_data_of_a_store_and_a_model_of_a_mirror_come_one_after_the_other() -> None:
    own = mirrored(endpoint="http://mirror.models.svc:8080")
    made = objects("Evaluate", base_model=own, dataset=IN_STORE, store_secret=OPEN)
    spec = made["Job"]["spec"]["template"]["spec"]
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["copy-model.json"])
    assert isinstance(config, CopyModelConfig)
    assert [container["name"] for container in spec["initContainers"]] == [
        "download", "copy-model", "check-base", "fetch", "engine",
    ]  # fmt: skip
    assert (config.endpoint, config.secret_name) == ("http://mirror.models.svc:8080", None)
    assert "base-store" not in {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("source", [job().spec.dataset.to_dict(), IN_STORE])
def test_validation_that_redacts_writes_to_the_workspace_where_training_will_run(source: Json) -> None:
    made = objects("Validate", pool=GPU, store_secret=OPEN, dataset={**source, **REDACTING})
    spec = made["Job"]["spec"]["template"]["spec"]
    mounts = {
        mount["mountPath"]: mount["readOnly"] for mount in spec["containers"][0]["volumeMounts"] if "readOnly" in mount
    }
    assert mounts["/workspace"] is False
    assert mounts["/mnt/dataset"] is True
    assert made["PersistentVolumeClaim"]["metadata"]["name"] == WORKSPACE
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("stage", ["Baseline", "Train", "Evaluate"])
@pytest.mark.parametrize("source", [job().spec.dataset.to_dict(), IN_STORE])
def test_after_redaction_no_stage_sees_the_source(stage: str, source: Json) -> None:
    made = objects(stage, store_secret=OPEN, dataset={**source, **REDACTING}, dataset_status=REDACTED)
    spec = made["Job"]["spec"]["template"]["spec"]
    config = json.loads(made["ConfigMap"]["data"]["stage.json"])
    assert config["dataset"]["path"] == "/workspace/redacted.jsonl"
    assert config["dataset"]["digest"] == sha256(b"redacted")
    seen = {mount["mountPath"]: mount.get("readOnly") for each in containers(spec) for mount in each["volumeMounts"]}
    assert seen["/workspace"] is (stage != "Train")
    assert "/mnt/dataset" not in seen
    assert "download.json" not in made["ConfigMap"]["data"]


def test_an_import_reads_redacted_examples_and_is_sealed_from_its_own_claim() -> None:
    imported: Json = {"source": "Import", "method": None, "adapter": {"uri": "pvc://data/legal/adapter"}}
    baseline = objects("Baseline", dataset_status=REDACTED, **imported)
    assert json.loads(baseline["ConfigMap"]["data"]["stage.json"])["dataset"]["path"] == "/workspace/redacted.jsonl"
    assert "PersistentVolumeClaim" not in objects("Seal", dataset_status=REDACTED, **imported)


def test_sealing_downloads_nothing() -> None:
    assert (
        "initContainers" not in objects("Seal", dataset=IN_STORE, store_secret=OPEN)["Job"]["spec"]["template"]["spec"]
    )


@pytest.mark.parametrize("uri", ["s3://bucket/x", "pvc://claim", "pvc://claim/", "pvc://claim/../other", "pvc:///x"])
def test_an_address_that_names_no_place_on_a_claim_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="pvc://|path"):
        claim_path(uri)


def test_an_address_is_read_as_claim_and_path() -> None:
    assert claim_path("pvc://data/a//b/./c.jsonl") == ClaimPath("data", "a/b/c.jsonl")


def test_an_address_of_a_store_is_read_as_bucket_and_key() -> None:
    assert data_path("s3://training/a//b/./c.jsonl/") == StorePath("training", "a/b/c.jsonl")
    assert data_path("pvc://data/c.jsonl") == ClaimPath("data", "c.jsonl")
    for uri in ("s3://bucket", "s3://bucket/", "s3://bucket/../x"):
        with pytest.raises(ValueError, match="s3://"):
            data_path(uri)


def test_a_model_of_a_mirror_is_named_by_one_commit() -> None:
    assert model_path(HUB_SOURCE) == HubPath("acme", "tiny-1b", HUB_SOURCE[-40:])
    assert model_path("pvc://models/tiny") == ClaimPath("models", "tiny")
    for uri in ("hf://acme/tiny", "hf://acme/tiny@main", "hf://acme/tiny@0123abc", f"hf://acme/../{HUB_SOURCE[10:]}"):
        with pytest.raises(ValueError, match="full commit hash|may not contain"):
            model_path(uri)
