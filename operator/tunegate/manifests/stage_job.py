"""The batch/v1 Job of one attempt of a stage, with its configuration and, for training, its headless Service.

A Job is created once and never changed: `backoffLimit: 0` and `restartPolicy: Never` make every failed pod end the
attempt, because an Indexed Job would restart only the failed index while its peers hang in a collective. No
podFailurePolicy: `Ignore` on DisruptionTarget would do just that, and every other rule says what `backoffLimit: 0` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.markers import RESERVED
from tunegate.api.modelserver import EngineProfile
from tunegate.api.shared import Resources
from tunegate.api.stage.layout import (
    ADAPTER_MOUNT,
    BASE_MODEL_MOUNT,
    BASE_RECORD_MOUNT,
    BASE_SERVED_NAME,
    CA_PATH,
    CHECKPOINT_KEY_PATH,
    CONFIG_PATH,
    ENGINE_PORT,
    PROGRESS_PORT,
    REGISTRY_AUTH_PATH,
    TERMINATION_PATH,
    TUNED_SERVED_NAME,
)
from tunegate.manifests.downloads import (
    CONFIG_DIGEST_FLAG,
    COPY_MODEL_CONTAINER,
    DOCUMENTS_CONTAINER,
    DOWNLOAD_CONTAINER,
    QUESTIONS_CONTAINER,
    Download,
    config_digest_arguments,
)
from tunegate.manifests.engine import ENGINE_DEVICES, engine_args, engine_command, engine_env
from tunegate.manifests.engine_probes import startup_probe
from tunegate.manifests.pods import (
    SCRATCH,
    container_resources,
    container_security,
    placement,
    pod_basics,
    scratch_mounts,
    scratch_volumes,
    threads,
)
from tunegate.manifests.sources import ClaimMount

STAGE_COMMAND = ["python3", "-m", "tunegate_trainer"]
STAGE_CONTAINER = "stage"
ENGINE_CONTAINER = "engine"
FETCH_CONTAINER = "fetch"
CHECK_BASE_CONTAINER = "check-base"
PREPARING = (
    DOWNLOAD_CONTAINER,
    DOCUMENTS_CONTAINER,
    QUESTIONS_CONTAINER,
    COPY_MODEL_CONTAINER,
    CHECK_BASE_CONTAINER,
    FETCH_CONTAINER,
)
"""Containers that bring inputs into the pod."""
RENDEZVOUS_PORT = 29500
CONFIG_FILE = CONFIG_PATH.rpartition("/")[2]
FETCH_FILE = "fetch.json"
CHECK_BASE_FILE = "check-base.json"
GRACE_SECONDS = 30
TRAINING_GRACE_SECONDS = 300
"""Time to finish the running step and write a checkpoint to a network volume after SIGTERM."""


@dataclass(frozen=True)
class Engine:
    """The vLLM sidecar of baseline and evaluation pods."""

    check_config: Mapping[str, Any]
    """Of the container that hashes the base model before the engine reads it."""
    profile: EngineProfile
    model_path: str
    resources: Resources
    adapter: bool
    """The sealed adapter is fetched and verified before the engine starts, and loaded as ``tuned``."""


@dataclass(frozen=True)
class StageJob:
    """Everything that decides what an attempt's objects look like."""

    name: str
    namespace: str
    stage: str
    labels: Mapping[str, str]
    owner: Mapping[str, Any]
    image: str
    service_account: str
    config: Mapping[str, Any]
    registry_secret: str
    ca_config_map: str
    resources: Resources
    pool: ComputePoolSpec | None = None
    fetch_config: Mapping[str, Any] | None = None
    downloads: Sequence[Download] = ()
    mounts: Sequence[ClaimMount] = ()
    pull_secrets: Sequence[str] = ()
    engine: Engine | None = None
    checkpoint_secret: str | None = None
    """Training: the Secret with the job's key for its checkpoints."""
    distributed: bool = False
    """Training: Indexed Job with a rendezvous, on the pool's devices."""
    nodes: int = 1
    processes: int = 1
    """Processes, and devices where the pool has them, of one node."""

    @property
    def config_text(self) -> str:
        """The configuration of the stage, as the pod's ConfigMap holds it."""
        return _text(self.config)


def config_map_name(attempt: str) -> str:
    """Return the name of the ConfigMap with an attempt's configuration."""
    return f"{RESERVED}stage-{attempt}"


def stage_objects(stage: StageJob) -> list[dict[str, Any]]:
    """Return the attempt's objects in the order in which they have to be created."""
    objects = [_config_map(stage)]
    if stage.distributed:
        objects.append(_service(stage))
    return [*objects, _job(stage)]


def _job(stage: StageJob) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": stage.nodes,
        "parallelism": stage.nodes,
        "completionMode": "Indexed" if stage.distributed else "NonIndexed",
        # A replacement must not start while the old pod still writes its checkpoint.
        "podReplacementPolicy": "Failed",
        "template": {"metadata": {"labels": dict(stage.labels)}, "spec": _pod(stage)},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(stage), "spec": spec}


def _pod(stage: StageJob) -> dict[str, Any]:
    pod: dict[str, Any] = {
        **pod_basics(stage.service_account, stage.pull_secrets),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": TRAINING_GRACE_SECONDS if stage.distributed else GRACE_SECONDS,
        "containers": [_stage_container(stage)],
        "volumes": _volumes(stage),
    }
    if stage.pool is not None:
        # Whoever writes to the workspace first decides where it lies: it must be where training can reach it.
        writes = any(not mount.read_only for mount in stage.mounts)
        pod |= placement(stage.pool, pinned=writes or stage.engine is not None)
    if stage.distributed:
        pod["subdomain"] = stage.name
    before = [_preparing(stage, one.container, one.config_file, one.own_mounts) for one in stage.downloads]
    if stage.engine is not None:
        before.append(_check_base_container(stage))
        before += [_fetch_container(stage)] if stage.engine.adapter else []
        before.append(_engine_container(stage, stage.engine))
    if before:
        pod["initContainers"] = before
    return pod


def _stage_container(stage: StageJob) -> dict[str, Any]:
    ports = [{"name": "progress", "containerPort": PROGRESS_PORT}]
    environment = _environment(stage)
    devices = 0
    if stage.distributed:
        devices = stage.processes
        ports.append({"name": "rendezvous", "containerPort": RENDEZVOUS_PORT})
        environment |= {
            "TUNEGATE_NUM_NODES": str(stage.nodes),
            "TUNEGATE_NUM_PROC_PER_NODE": str(stage.processes),
            "MASTER_ADDR": f"{stage.name}-0.{stage.name}",
            "MASTER_PORT": str(RENDEZVOUS_PORT),
            "OMP_NUM_THREADS": str(max(1, threads(stage.resources) // stage.processes)),
        }
    device = stage.pool.device_resource if stage.pool else None
    return {
        **_container(stage, STAGE_CONTAINER, environment),
        "command": STAGE_COMMAND,
        "args": ["--config", CONFIG_PATH, *config_digest_arguments(stage.config_text)],
        "ports": ports,
        "resources": container_resources(stage.resources, device, devices),
        "volumeMounts": [
            *_fixed_mounts(),
            *_claim_mounts(stage),
            *(download.reading_mount for download in stage.downloads),
            *_adapter_mount(stage, read_only=True),
            *_record_mount(stage, read_only=True),
            *_checkpoint_key_mount(stage),
        ],
    }


def _fetch_container(stage: StageJob) -> dict[str, Any]:
    return _preparing(stage, FETCH_CONTAINER, FETCH_FILE, _adapter_mount(stage, read_only=False))


def _check_base_container(stage: StageJob) -> dict[str, Any]:
    mounts = [*_base_mounts(stage), *_record_mount(stage, read_only=False)]
    return _preparing(stage, CHECK_BASE_CONTAINER, CHECK_BASE_FILE, mounts)


def _preparing(stage: StageJob, name: str, file: str, mounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a container that runs before all others and puts something into a folder of the pod."""
    return {
        **_container(stage, name, _environment(stage)),
        "command": STAGE_COMMAND,
        "args": [
            "--config",
            f"{CONFIG_PATH.rpartition('/')[0]}/{file}",
            *config_digest_arguments(_documents(stage)[file]),
        ],
        "resources": container_resources(stage.resources),
        "volumeMounts": [*_fixed_mounts(), *mounts],
    }


def _engine_container(stage: StageJob, engine: Engine) -> dict[str, Any]:
    """Return the native sidecar: an init container that is restarted and ends when the stage's container has ended."""
    device = stage.pool.device_resource if stage.pool and engine.profile.device != "CPU" else None
    return {
        "name": ENGINE_CONTAINER,
        "image": engine.profile.image,
        "restartPolicy": "Always",
        "command": engine_command(),
        "args": engine_args(
            engine.profile,
            engine.model_path,
            BASE_SERVED_NAME,
            lora_modules=[(TUNED_SERVED_NAME, ADAPTER_MOUNT)] if engine.adapter else None,
            port=ENGINE_PORT,
        ),
        "env": engine_env(engine.profile, threads=threads(engine.resources)),
        "startupProbe": startup_probe(ENGINE_PORT),
        "securityContext": container_security(),
        "resources": container_resources(engine.resources, device, ENGINE_DEVICES),
        "volumeMounts": [*scratch_mounts("engine-tmp"), *_base_mounts(stage), *_adapter_mount(stage, read_only=True)],
    }


def _container(stage: StageJob, name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": stage.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_PATH,
        # Never from the log: a traceback can carry a row of the data into the pod's status.
        "terminationMessagePolicy": "File",
    }


def _environment(stage: StageJob) -> dict[str, str]:
    return {
        "HOME": SCRATCH,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads(stage.resources)),
        # Threads that wait sleep after some microseconds: longer would burn a core that another pod could use, sleeping at
        # once makes training on a CPU a fifth slower.
        "GOMP_SPINCOUNT": "20000",
        "PYTHONUNBUFFERED": "1",
    }


def _volumes(stage: StageJob) -> list[dict[str, Any]]:
    scratch = ["tmp"]
    if stage.engine is not None:
        scratch += ["engine-tmp", "base-record"]
        scratch += ["adapter"] if stage.engine.adapter else []
    writable = {mount.claim for mount in stage.mounts if not mount.read_only}
    claims = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": claim not in writable}}
        for claim, name in _claim_volumes(stage).items()
    ]
    return [
        *scratch_volumes(*scratch),
        {"name": "config", "configMap": {"name": config_map_name(stage.name)}},
        {"name": "registry", "secret": {"secretName": stage.registry_secret}},
        {"name": "ca", "configMap": {"name": stage.ca_config_map, "optional": True}},
        *claims,
        *_checkpoint_key_volume(stage),
        *(volume for download in stage.downloads for volume in download.volumes),
    ]


def _fixed_mounts() -> list[dict[str, Any]]:
    folders = {
        "config": CONFIG_PATH.rpartition("/")[0],
        "registry": REGISTRY_AUTH_PATH.rpartition("/")[0],
        "ca": CA_PATH.rpartition("/")[0],
    }
    read_only = [{"name": name, "mountPath": path, "readOnly": True} for name, path in folders.items()]
    return [*scratch_mounts(), *read_only]


def _claim_volumes(stage: StageJob) -> dict[str, str]:
    """Return a volume name for each claim: one volume even where data set and suite lie on the same claim."""
    claims = list(dict.fromkeys(mount.claim for mount in stage.mounts))
    return {claim: f"claim-{index}" for index, claim in enumerate(claims)}


def _claim_mounts(stage: StageJob) -> list[dict[str, Any]]:
    names = _claim_volumes(stage)
    return [
        {"name": names[mount.claim], "mountPath": mount.mount_path, "readOnly": mount.read_only}
        for mount in stage.mounts
    ]


def _adapter_mount(stage: StageJob, *, read_only: bool) -> list[dict[str, Any]]:
    if stage.engine is None or not stage.engine.adapter:
        return []
    return [{"name": "adapter", "mountPath": ADAPTER_MOUNT, "readOnly": read_only}]


def _base_mounts(stage: StageJob) -> list[dict[str, Any]]:
    mounts = [*_claim_mounts(stage), *(download.reading_mount for download in stage.downloads)]
    return [mount for mount in mounts if mount["mountPath"] == BASE_MODEL_MOUNT]


def _record_mount(stage: StageJob, *, read_only: bool) -> list[dict[str, Any]]:
    if stage.engine is None:
        return []
    return [{"name": "base-record", "mountPath": BASE_RECORD_MOUNT, "readOnly": read_only}]


def _checkpoint_key_mount(stage: StageJob) -> list[dict[str, Any]]:
    if stage.checkpoint_secret is None:
        return []
    return [{"name": "checkpoint-key", "mountPath": CHECKPOINT_KEY_PATH.rpartition("/")[0], "readOnly": True}]


def _checkpoint_key_volume(stage: StageJob) -> list[dict[str, Any]]:
    if stage.checkpoint_secret is None:
        return []
    return [{"name": "checkpoint-key", "secret": {"secretName": stage.checkpoint_secret}}]


def _config_map(stage: StageJob) -> dict[str, Any]:
    data, metadata = _documents(stage), {**_metadata(stage), "name": config_map_name(stage.name)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": data}


def _documents(stage: StageJob) -> dict[str, str]:
    """Return the configuration documents of the pod's containers, by file name."""
    found = {CONFIG_FILE: stage.config_text}
    if stage.fetch_config is not None:
        found[FETCH_FILE] = _text(stage.fetch_config)
    if stage.engine is not None:
        found[CHECK_BASE_FILE] = _text(stage.engine.check_config)
    return found | {download.config_file: download.config_text for download in stage.downloads}


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=1, sort_keys=True)


def config_digest(pod_spec: Mapping[str, Any]) -> str | None:
    """Return the digest of the configuration that the stage of a pod was made for, from the pod's own template."""
    for container in pod_spec.get("containers") or []:
        arguments = container.get("args") or []
        if container["name"] == STAGE_CONTAINER and CONFIG_DIGEST_FLAG in arguments[:-1]:
            return str(arguments[arguments.index(CONFIG_DIGEST_FLAG) + 1])
    return None


def _service(stage: StageJob) -> dict[str, Any]:
    """Return the headless Service that gives the pods of one attempt their names; peers meet before they are ready."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"batch.kubernetes.io/job-name": stage.name},
        "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(stage), "spec": spec}


def _metadata(stage: StageJob) -> dict[str, Any]:
    return {
        "name": stage.name,
        "namespace": stage.namespace,
        "labels": dict(stage.labels),
        "ownerReferences": [dict(stage.owner)],
    }
