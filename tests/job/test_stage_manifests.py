"""The objects of an attempt: least rights, the right volumes, one engine start for all."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest

from tests.support.builders import make_approvalpolicy
from tests.support.job_world import WORKSPACE
from tests.support.stage_documents import SETTINGS, job, sealed, trained, world_objects
from tests.support.stage_objects import GPU, IMAGE, IN_STORE, OPEN, STAGES, containers, mirrored, objects, pod
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.datachecks import DEFAULTS
from tunegate.api.modelserver import EngineProfile
from tunegate.api.shared import Resources
from tunegate.api.stage.configs import (
    STAGE_CONFIG,
    BaselineConfig,
    CheckBaseConfig,
    EvaluateConfig,
    SealConfig,
    TrainConfig,
    ValidateConfig,
)
from tunegate.digests import sha256
from tunegate.errors import Transient
from tunegate.manifests.engine import engine_args, engine_env
from tunegate.manifests.pods import threads
from tunegate.manifests.stage_job import config_digest
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.inputs import Inputs, resolve
from tunegate.reconcile.finetunejob.observed import Observed


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
    assert ("fetch.json" in data) == (stage == "Evaluate")


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
@pytest.mark.parametrize("stage", ["Baseline", "Evaluate"])
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
    made = objects("Train")
    secret = made["Secret"]
    assert secret["immutable"] is True
    assert len(b64decode(secret["data"]["key"])) == 32
    for stage in STAGES:
        volumes = {v["name"]: v for v in pod(stage)["volumes"]}
        assert ("checkpoint-key" in volumes) is (stage == "Train")
    key = {v["name"]: v for v in pod("Train")["volumes"]}["checkpoint-key"]
    assert key["secret"] == {"secretName": secret["metadata"]["name"]}
    assert "Secret" not in objects("Train", checkpoint_secret=secret)


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_workspace_is_writable_and_only_training_writes_to_it(stage: str) -> None:
    spec = pod(stage)
    claims = {v["name"]: v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    for container in containers(spec):
        for mount in container["volumeMounts"]:
            if mount["name"] in claims:
                writable = not mount["readOnly"]
                assert writable == (mount["mountPath"] == "/workspace" and stage == "Train")
                assert claims[mount["name"]]["readOnly"] != writable


def test_the_training_pod_sees_neither_questions_nor_the_suite() -> None:
    mounts = {mount["mountPath"] for mount in pod("Train")["containers"][0]["volumeMounts"]}
    assert {"/mnt/base", "/mnt/dataset", "/workspace"} <= mounts
    assert "/mnt/suite" not in mounts


def test_training_meets_at_index_0_through_a_headless_service() -> None:
    made = objects("Train", method={"type": "LoRA", "numNodes": 2, "numProcPerNode": 2}, pool=GPU)
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


@pytest.mark.parametrize(("stage", "devices"), [("Validate", 0), ("Seal", 0), ("Train", 2)])
def test_only_training_takes_devices_and_stays_on_the_pool(stage: str, devices: int) -> None:
    spec = pod(stage, pool=GPU, method={"type": "LoRA", "numProcPerNode": 2})
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu", "0") == str(devices)
    assert ("nodeSelector" in spec) == (devices > 0)
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def test_the_engine_is_a_sidecar_on_loopback_that_loads_the_fetched_adapter() -> None:
    spec = pod("Evaluate")
    check, fetch, engine = spec["initContainers"]
    assert (check["name"], fetch["name"], engine["name"]) == ("check-base", "fetch", "engine")
    assert "restartPolicy" not in fetch
    assert engine["restartPolicy"] == "Always"
    assert "--host=127.0.0.1" in engine["args"]
    assert "tuned=/adapter" in engine["args"]
    assert engine["startupProbe"]["exec"]["command"][0] == "python3"
    adapter = {c["name"]: m["readOnly"] for c in containers(spec) for m in c["volumeMounts"] if m["name"] == "adapter"}
    assert adapter == {"fetch": False, "engine": True, "stage": True}
    assert [c["name"] for c in pod("Baseline")["initContainers"]] == ["check-base", "engine"]


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
    made = objects("Seal", source="Import", method=None, adapter={"uri": "pvc://data/legal/adapter"})
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])
    assert isinstance(config, SealConfig)
    assert config.source_path == "/mnt/import/legal/adapter"
    assert config.source_digest == sha256(b"imported files"), "what validation read is what is sealed"
    assert "PersistentVolumeClaim" not in made


def test_a_stage_is_configured_from_what_earlier_stages_found() -> None:
    train = STAGE_CONFIG.validate_json(objects("Train")["ConfigMap"]["data"]["stage.json"])
    judge = STAGE_CONFIG.validate_json(objects("Evaluate")["ConfigMap"]["data"]["stage.json"])
    seal = STAGE_CONFIG.validate_json(objects("Seal")["ConfigMap"]["data"]["stage.json"])
    check = STAGE_CONFIG.validate_json(objects("Validate")["ConfigMap"]["data"]["stage.json"])
    assert isinstance(train, TrainConfig)
    assert train.dataset.path == "/mnt/dataset/train.jsonl"
    assert isinstance(seal, SealConfig)
    assert (seal.source_path, seal.source_digest) == ("/workspace/adapter", trained().adapter_digest)
    assert isinstance(judge, EvaluateConfig)
    assert judge.adapter.digest == sealed().digest
    assert (judge.baseline_repository, judge.baseline_result) == ("team/copyright-0f0e0d0c", sha256(b"Baseline"))
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

    made = {obj["kind"]: obj for obj in attempt_objects(seen, inputs, SETTINGS, "Validate", 1)}
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])

    assert isinstance(config, ValidateConfig)
    actions = {setting.name: setting.action for setting in config.checks}
    assert (actions["PersonalData"], actions["Secrets"], actions["Overlap"]) == ("Block", "Warn", "Block")
    assert set(actions) == set(DEFAULTS)


def test_baseline_and_evaluation_know_the_authors_prompt_alike() -> None:
    made = [objects(stage, baseline={"prompt": "Mine."})["ConfigMap"]["data"] for stage in ("Baseline", "Evaluate")]
    assert [json.loads(data["stage.json"])["authorPrompt"] for data in made] == ["Mine.", "Mine."]


def test_a_stage_waits_for_an_earlier_result_that_cannot_be_read() -> None:
    seen = Observed(job=job({"stages": [{"name": "Seal", "resultDigest": sha256(b"x")}]}), **world_objects())
    inputs = resolve(seen)
    assert isinstance(inputs, Inputs)
    with pytest.raises(Transient):
        attempt_objects(seen, inputs, SETTINGS, "Evaluate", 1)


@pytest.mark.parametrize(("cpu", "count"), [("500m", 2), ("2", 2), ("3500m", 4), ("16", 16)])
def test_threads_follow_the_cpu_request(cpu: str, count: int) -> None:
    assert threads(Resources(cpu=cpu)) == count


def test_the_objects_of_an_attempt_carry_no_secret() -> None:
    text = json.dumps([objects(stage) for stage in STAGES])
    assert "registrytoken" not in text
    assert "password" not in text
