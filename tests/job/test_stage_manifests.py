"""The objects of an attempt: least rights, the right volumes, one engine start for all."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from tests.support.builders import HUB_SOURCE, make_approvalpolicy, make_basemodel
from tests.support.job_world import WORKSPACE
from tests.support.stage_documents import SETTINGS, job, sealed, trained, validated, world_objects
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.datachecks import DEFAULTS
from tunegate.api.modelserver import EngineProfile
from tunegate.api.shared import Resources
from tunegate.api.stage.configs import (
    STAGE_CONFIG,
    BaselineConfig,
    CheckBaseConfig,
    CopyModelConfig,
    DownloadConfig,
    EvaluateConfig,
    SealConfig,
    TrainConfig,
    ValidateConfig,
)
from tunegate.api.stage.layout import MAX_DOCUMENT_BYTES, STORE_REQUIRED
from tunegate.api.stage.results import StageInputs
from tunegate.digests import sha256
from tunegate.errors import Transient
from tunegate.manifests.engine import engine_args, engine_env
from tunegate.manifests.pods import threads
from tunegate.manifests.sources import ClaimPath, HubPath, StorePath, claim_path, data_path, model_path
from tunegate.manifests.stage_job import config_digest
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.inputs import Inputs, resolve
from tunegate.reconcile.finetunejob.observed import Observed, StoreSecret

Json = dict[str, Any]
STAGES = ("validate", "baseline", "train", "seal", "evaluate")
IMAGE = "registry.example/engine@sha256:" + "2" * 64


OPEN = StoreSecret({"tunegate.io/usable-by-jobs": "true"}, frozenset(STORE_REQUIRED))


def objects(
    stage: Any,
    *,
    pool: Json | None = None,
    store_secret: StoreSecret | None = None,
    documents_secret: StoreSecret | None = None,
    dataset_status: Json | None = None,
    documents_digest: str | None = None,
    base_model: BaseModel | None = None,
    checkpoint_secret: Json | None = None,
    **spec: Any,
) -> dict[str, Json]:
    read = StageInputs(adapter=sha256(b"imported files"))
    checked = validated().model_copy(update={"inputs": read})
    results = {
        sha256(b"validate"): checked,
        sha256(b"train"): trained(),
        sha256(b"seal"): sealed(),
        sha256(b"baseline"): None,
    }
    stages = [
        {"name": name, "state": "Done", "attempt": 1, "resultDigest": sha256(name.encode())}
        for name in ("validate", "baseline", "train", "seal")
    ]
    facts = {
        **world_objects(**(pool or {})), "store_secret": store_secret, "documents_secret": documents_secret,
        "checkpoint_secret": checkpoint_secret, "fresh_checkpoint_key": bytes(32), "hub_endpoint": "https://hub.example", **({"base_model": base_model} if base_model else {}),
    }  # fmt: skip
    found = {"dataset": dataset_status, "documentsDigest": documents_digest}
    status = {"observedGeneration": 1, "stages": stages, **{key: value for key, value in found.items() if value}}
    seen = Observed(job=job(status, **spec), results=results, **facts)  # type: ignore[arg-type]
    inputs = resolve(seen)
    assert isinstance(inputs, Inputs), inputs
    return {obj["kind"]: obj for obj in attempt_objects(seen, inputs, SETTINGS, stage, 2)}


def pod(stage: str, **more: Any) -> Json:
    found: Json = objects(stage, **more)["Job"]["spec"]["template"]["spec"]
    return found


def containers(spec: Json) -> list[Json]:
    return [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_pod_has_no_rights_and_no_token(stage: str) -> None:
    spec = pod(stage)
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "tunegate-stage"
    assert spec["securityContext"]["runAsUser"] == 65532
    for container in containers(spec):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {entry["name"]: entry["value"] for entry in container["env"]}["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("stage", STAGES)
def test_an_attempt_is_one_pod_failure_away_from_its_end(stage: str) -> None:
    spec = objects(stage)["Job"]["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in spec


@pytest.mark.parametrize("stage", STAGES)
def test_the_configuration_is_one_that_the_stage_understands(stage: str) -> None:
    data = objects(stage)["ConfigMap"]["data"]
    assert STAGE_CONFIG.validate_json(data["stage.json"]).stage == stage
    assert ("fetch.json" in data) == (stage == "evaluate")


@pytest.mark.attack(51, 52)
@pytest.mark.parametrize("stage", STAGES)
def test_every_container_that_reads_a_configuration_is_told_its_digest(stage: str) -> None:
    made = objects(
        stage, base_model=mirrored(endpoint="http://mirror.models.svc:8080"), dataset=IN_STORE, store_secret=OPEN
    )
    documents = made["ConfigMap"]["data"]
    read = {}
    for container in containers(made["Job"]["spec"]["template"]["spec"]):
        if container["name"] == "engine":
            continue
        assert {m["name"] for m in container["volumeMounts"]} >= {"config"}
        flag, path, digest_flag, digest = container["args"]
        assert (flag, digest_flag) == ("--config", "--config-digest")
        read[path.rpartition("/")[2]] = digest
    assert read == {name: sha256(text.encode()) for name, text in documents.items()}
    assert config_digest(made["Job"]["spec"]["template"]["spec"]) == sha256(documents["stage.json"].encode())


@pytest.mark.attack(58)
@pytest.mark.parametrize("stage", ["baseline", "evaluate"])
def test_the_base_model_is_hashed_before_the_engine_reads_it(stage: str) -> None:
    made = objects(stage)
    before = [container["name"] for container in made["Job"]["spec"]["template"]["spec"]["initContainers"]]
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["check-base.json"])
    told = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])
    mounts = {
        one["name"]: {m["mountPath"]: m.get("readOnly") for m in one["volumeMounts"]}
        for one in containers(made["Job"]["spec"]["template"]["spec"])
    }
    assert before.index("check-base") < before.index("engine")
    assert isinstance(config, CheckBaseConfig)
    assert isinstance(told, BaselineConfig | EvaluateConfig)
    assert config.base_model == told.base_model
    # The stage sees the same files, to notice when one is replaced, and cannot write the record.
    assert mounts["check-base"]["/mnt/base"] is mounts["stage"]["/mnt/base"] is True
    assert (mounts["check-base"]["/base-record"], mounts["stage"]["/base-record"]) == (False, True)
    assert "/base-record" not in mounts["engine"]


@pytest.mark.attack(59)
def test_only_training_holds_the_key_of_its_checkpoints_and_it_is_made_once() -> None:
    made = objects("train")
    secret = made["Secret"]
    assert secret["immutable"] is True
    assert len(b64decode(secret["data"]["key"])) == 32
    for stage in STAGES:
        volumes = {v["name"]: v for v in pod(stage)["volumes"]}
        assert ("checkpoint-key" in volumes) is (stage == "train")
    key = {v["name"]: v for v in pod("train")["volumes"]}["checkpoint-key"]
    assert key["secret"] == {"secretName": secret["metadata"]["name"]}
    assert "Secret" not in objects("train", checkpoint_secret=secret)


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_workspace_is_writable_and_only_training_writes_to_it(stage: str) -> None:
    spec = pod(stage)
    claims = {v["name"]: v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    for container in containers(spec):
        for mount in container["volumeMounts"]:
            if mount["name"] in claims:
                writable = not mount["readOnly"]
                assert writable == (mount["mountPath"] == "/workspace" and stage == "train")
                assert claims[mount["name"]]["readOnly"] != writable


def test_the_training_pod_sees_neither_questions_nor_the_suite() -> None:
    mounts = {mount["mountPath"] for mount in pod("train")["containers"][0]["volumeMounts"]}
    assert {"/mnt/base", "/mnt/dataset", "/workspace"} <= mounts
    assert "/mnt/suite" not in mounts


IN_STORE: Json = {**job().spec.dataset.to_dict(), "uri": "s3://training/sets/rows", "secretName": "bucket"}


@pytest.mark.parametrize("stage", ["validate", "baseline", "train", "evaluate"])
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
    made = objects(stage, baseline=brought, documents_digest=sha256(b"found") if stage != "validate" else None)
    spec = made["Job"]["spec"]["template"]["spec"]
    mounts = {m["mountPath"]: m.get("readOnly") for one in containers(spec) for m in one["volumeMounts"]}
    config = json.loads(made["ConfigMap"]["data"]["stage.json"])
    assert mounts.get("/mnt/documents") is (True if stage in ("validate", "baseline") else None)
    digest = {"validate": sha256(b"pinned"), "baseline": sha256(b"found")}.get(stage)
    assert config.get("documents") == ({"path": "/mnt/documents/manuals", "digest": digest} if digest else None)
    assert config.get("documentsDigest") == (sha256(b"found") if stage == "evaluate" else None)


@pytest.mark.parametrize("stage", STAGES)
def test_documents_of_a_store_come_with_a_credential_of_their_own(stage: str) -> None:
    brought = {"documents": {"uri": "s3://manuals/2026", "secretName": "shelf"}}
    made = objects(stage, baseline=brought, documents_secret=OPEN, dataset=IN_STORE, store_secret=OPEN)
    spec = made["Job"]["spec"]["template"]["spec"]
    searched = stage in ("validate", "baseline")
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


def mirrored(**hub: Any) -> BaseModel:
    made = make_basemodel(source=HUB_SOURCE, hub=hub or None)
    return BaseModel.model_validate({**made, "status": world_objects()["base_model"].status.to_dict()})


@pytest.mark.parametrize("stage", STAGES)
def test_a_model_of_a_mirror_is_copied_into_every_pod_that_reads_it(stage: str) -> None:
    made = objects(stage, base_model=mirrored(secretName="hub-reader", size="3Gi"))
    spec = made["Job"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    seen = {c["name"]: {m["name"]: m.get("readOnly", False) for m in c["volumeMounts"]} for c in containers(spec)}
    if stage == "seal":
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
    readers = {"check-base", "engine", "stage"} if stage in ("baseline", "evaluate") else {"stage"}
    assert {name: mounts["base"] for name, mounts in seen.items() if "base" in mounts} == {
        "copy-model": False, **dict.fromkeys(readers, True),
    }  # fmt: skip
    assert json.loads(made["ConfigMap"]["data"]["stage.json"])["baseModel"]["path"] == "/mnt/base/tiny-1b"


def test_data_of_a_store_and_a_model_of_a_mirror_come_one_after_the_other() -> None:
    own = mirrored(endpoint="http://mirror.models.svc:8080")
    made = objects("evaluate", base_model=own, dataset=IN_STORE, store_secret=OPEN)
    spec = made["Job"]["spec"]["template"]["spec"]
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["copy-model.json"])
    assert isinstance(config, CopyModelConfig)
    assert [container["name"] for container in spec["initContainers"]] == [
        "download", "copy-model", "check-base", "fetch", "engine",
    ]  # fmt: skip
    assert (config.endpoint, config.secret_name) == ("http://mirror.models.svc:8080", None)
    assert "base-store" not in {volume["name"] for volume in spec["volumes"]}


REDACTING: Json = {"checks": [{"name": "PersonalData", "action": "Redact"}]}
REDACTED: Json = {
    "digest": sha256(b"source"), "redactedDigest": sha256(b"redacted"), "rows": 1, "tokens": 1, "duplicates": 0, "developmentRows": 0,
}  # fmt: skip


@pytest.mark.parametrize("source", [job().spec.dataset.to_dict(), IN_STORE])
def test_validation_that_redacts_writes_to_the_workspace_where_training_will_run(source: Json) -> None:
    made = objects("validate", pool=GPU, store_secret=OPEN, dataset={**source, **REDACTING})
    spec = made["Job"]["spec"]["template"]["spec"]
    mounts = {
        mount["mountPath"]: mount["readOnly"] for mount in spec["containers"][0]["volumeMounts"] if "readOnly" in mount
    }
    assert mounts["/workspace"] is False
    assert mounts["/mnt/dataset"] is True
    assert made["PersistentVolumeClaim"]["metadata"]["name"] == WORKSPACE
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("stage", ["baseline", "train", "evaluate"])
@pytest.mark.parametrize("source", [job().spec.dataset.to_dict(), IN_STORE])
def test_after_redaction_no_stage_sees_the_source(stage: str, source: Json) -> None:
    made = objects(stage, store_secret=OPEN, dataset={**source, **REDACTING}, dataset_status=REDACTED)
    spec = made["Job"]["spec"]["template"]["spec"]
    config = json.loads(made["ConfigMap"]["data"]["stage.json"])
    assert config["dataset"]["path"] == "/workspace/redacted.jsonl"
    assert config["dataset"]["digest"] == sha256(b"redacted")
    seen = {mount["mountPath"]: mount.get("readOnly") for each in containers(spec) for mount in each["volumeMounts"]}
    assert seen["/workspace"] is (stage != "train")
    assert "/mnt/dataset" not in seen
    assert "download.json" not in made["ConfigMap"]["data"]


def test_an_import_reads_redacted_examples_and_is_sealed_from_its_own_claim() -> None:
    imported: Json = {"source": "Import", "method": None, "adapter": {"uri": "pvc://data/legal/adapter"}}
    baseline = objects("baseline", dataset_status=REDACTED, **imported)
    assert json.loads(baseline["ConfigMap"]["data"]["stage.json"])["dataset"]["path"] == "/workspace/redacted.jsonl"
    assert "PersistentVolumeClaim" not in objects("seal", dataset_status=REDACTED, **imported)


def test_sealing_downloads_nothing() -> None:
    assert (
        "initContainers" not in objects("seal", dataset=IN_STORE, store_secret=OPEN)["Job"]["spec"]["template"]["spec"]
    )


def test_training_meets_at_index_0_through_a_headless_service() -> None:
    made = objects("train", method={"type": "LoRA", "numNodes": 2, "numProcPerNode": 2}, pool=GPU)
    name = made["Job"]["metadata"]["name"]
    assert made["Job"]["spec"]["completionMode"] == "Indexed"
    assert made["Job"]["spec"]["completions"] == made["Job"]["spec"]["parallelism"] == 2
    assert made["Service"]["spec"]["clusterIP"] == "None"
    assert made["Service"]["spec"]["publishNotReadyAddresses"] is True
    assert made["Service"]["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    spec = made["Job"]["spec"]["template"]["spec"]
    env = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
    assert spec["subdomain"] == name
    assert env["MASTER_ADDR"] == f"{name}-0.{name}"
    assert env["TUNEGATE_NUM_NODES"] == "2"
    assert made["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert len(f"{name}-63") <= 63


GPU: Json = {
    "deviceResource": "nvidia.com/gpu", "devicesPerNode": 2, "maxNodes": 2, "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
}  # fmt: skip


@pytest.mark.parametrize(("stage", "devices"), [("validate", 0), ("seal", 0), ("train", 2)])
def test_only_training_takes_devices_and_stays_on_the_pool(stage: str, devices: int) -> None:
    spec = pod(stage, pool=GPU, method={"type": "LoRA", "numProcPerNode": 2})
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu", "0") == str(devices)
    assert ("nodeSelector" in spec) == (devices > 0)
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def test_the_engine_is_a_sidecar_on_loopback_that_loads_the_fetched_adapter() -> None:
    spec = pod("evaluate")
    check, fetch, engine = spec["initContainers"]
    assert (check["name"], fetch["name"], engine["name"]) == ("check-base", "fetch", "engine")
    assert "restartPolicy" not in fetch
    assert engine["restartPolicy"] == "Always"
    assert "--host=127.0.0.1" in engine["args"]
    assert "tuned=/adapter" in engine["args"]
    assert engine["startupProbe"]["exec"]["command"][0] == "python3"
    adapter = {c["name"]: m["readOnly"] for c in containers(spec) for m in c["volumeMounts"] if m["name"] == "adapter"}
    assert adapter == {"fetch": False, "engine": True, "stage": True}
    assert [c["name"] for c in pod("baseline")["initContainers"]] == ["check-base", "engine"]


def test_the_engine_never_loads_adapters_at_run_time() -> None:
    profile = EngineProfile(image=IMAGE, device="CPU", max_model_len=512, enforce_eager=True, kv_cache_memory="1500Mi")
    env = {entry["name"]: entry["value"] for entry in engine_env(profile)}
    assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    assert env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    args = engine_args(profile, "/mnt/base/m", "base", uds="/run/engine/vllm.sock")
    assert "--uds=/run/engine/vllm.sock" in args
    assert not any(arg.startswith(("--port", "--host", "--api-key")) for arg in args)
    assert "--enable-lora" in args
    assert "--enforce-eager" in args


def test_an_import_is_sealed_from_its_own_claim_without_a_workspace() -> None:
    made = objects("seal", source="Import", method=None, adapter={"uri": "pvc://data/legal/adapter"})
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])
    assert isinstance(config, SealConfig)
    assert config.source_path == "/mnt/import/legal/adapter"
    assert config.source_digest == sha256(b"imported files"), "what validation read is what is sealed"
    assert "PersistentVolumeClaim" not in made


def test_a_stage_is_configured_from_what_earlier_stages_found() -> None:
    train = STAGE_CONFIG.validate_json(objects("train")["ConfigMap"]["data"]["stage.json"])
    judge = STAGE_CONFIG.validate_json(objects("evaluate")["ConfigMap"]["data"]["stage.json"])
    seal = STAGE_CONFIG.validate_json(objects("seal")["ConfigMap"]["data"]["stage.json"])
    check = STAGE_CONFIG.validate_json(objects("validate")["ConfigMap"]["data"]["stage.json"])
    assert isinstance(train, TrainConfig)
    assert train.dataset.path == "/mnt/dataset/train.jsonl"
    assert isinstance(seal, SealConfig)
    assert (seal.source_path, seal.source_digest) == ("/workspace/adapter", trained().adapter_digest)
    assert isinstance(judge, EvaluateConfig)
    assert judge.adapter.digest == sealed().digest
    assert (judge.baseline_repository, judge.baseline_result) == ("team/copyright-0f0e0d0c", sha256(b"baseline"))
    assert judge.min_margin == "0.05"
    assert isinstance(check, ValidateConfig)
    assert check.base_model.path == "/mnt/base/smollm2"
    assert check.registry.repository == "team/copyright-0f0e0d0c"
    assert WORKSPACE == "tunegate-workspace-copyright-0f0e0d0c"


def test_the_checks_are_the_policys_made_stricter_by_the_job() -> None:
    policy = make_approvalpolicy(
        dataChecks=[{"name": "PersonalData", "action": "Block"}, {"name": "Secrets", "action": "Off"}]
    )
    facts = {**world_objects(), "policy": ApprovalPolicy.model_validate(policy)}
    dataset = {**job().spec.dataset.to_dict(), "checks": [{"name": "Secrets", "action": "Warn"}]}
    seen = Observed(job=job(dataset=dataset), **facts)
    inputs = resolve(seen)
    assert isinstance(inputs, Inputs), inputs

    made = {obj["kind"]: obj for obj in attempt_objects(seen, inputs, SETTINGS, "validate", 1)}
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])

    assert isinstance(config, ValidateConfig)
    actions = {setting.name: setting.action for setting in config.checks}
    assert (actions["PersonalData"], actions["Secrets"], actions["Overlap"]) == ("Block", "Warn", "Block")
    assert set(actions) == set(DEFAULTS)


def test_baseline_and_evaluation_know_the_authors_prompt_alike() -> None:
    made = [objects(stage, baseline={"prompt": "Mine."})["ConfigMap"]["data"] for stage in ("baseline", "evaluate")]
    assert [json.loads(data["stage.json"])["authorPrompt"] for data in made] == ["Mine.", "Mine."]


def test_a_stage_waits_for_an_earlier_result_that_cannot_be_read() -> None:
    seen = Observed(job=job({"stages": [{"name": "seal", "resultDigest": sha256(b"x")}]}), **world_objects())
    inputs = resolve(seen)
    assert isinstance(inputs, Inputs)
    with pytest.raises(Transient):
        attempt_objects(seen, inputs, SETTINGS, "evaluate", 1)


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


@pytest.mark.parametrize(("cpu", "count"), [("500m", 2), ("2", 2), ("3500m", 4), ("16", 16)])
def test_threads_follow_the_cpu_request(cpu: str, count: int) -> None:
    assert threads(Resources(cpu=cpu)) == count


def test_the_objects_of_an_attempt_carry_no_secret() -> None:
    text = json.dumps([objects(stage) for stage in STAGES])
    assert "registrytoken" not in text
    assert "password" not in text


def test_a_model_of_a_mirror_is_named_by_one_commit() -> None:
    assert model_path(HUB_SOURCE) == HubPath("acme", "tiny-1b", HUB_SOURCE[-40:])
    assert model_path("pvc://models/tiny") == ClaimPath("models", "tiny")
    for uri in ("hf://acme/tiny", "hf://acme/tiny@main", "hf://acme/tiny@0123abc", f"hf://acme/../{HUB_SOURCE[10:]}"):
        with pytest.raises(ValueError, match="full commit hash|may not contain"):
            model_path(uri)
