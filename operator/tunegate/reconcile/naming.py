"""Names and labels of children: functions of the owner, so that a repeated create is harmless.

Kinds that people use too (ConfigMap, Secret, PersistentVolumeClaim, Role, RoleBinding) get names that begin with
``RESERVED``: the admission rules let nobody else write such an object, so that knowing a name in advance helps nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.markers import GROUP, MANAGED_BY_LABEL, RESERVED

JOB_LABEL = f"{GROUP}/job"
JOB_UID_LABEL = f"{GROUP}/job-uid"
STAGE_LABEL = f"{GROUP}/stage"
ATTEMPT_LABEL = f"{GROUP}/attempt"
SERVER_LABEL = f"{GROUP}/server"
RELEASE_LABEL = f"{GROUP}/release"
BASE_MODEL_LABEL = f"{GROUP}/base-model"
MANAGED_BY = "tunegate"
USABLE_BY_JOBS_LABEL = f"{GROUP}/usable-by-jobs"
USABLE_BY_SERVERS_LABEL = f"{GROUP}/usable-by-servers"
FINALIZER = f"{GROUP}/finalizer"

STAGE_SERVICE_ACCOUNT = "tunegate-stage"
SERVING_SERVICE_ACCOUNT = "tunegate-serving"
OPERATOR_SERVICE_ACCOUNT = "tunegate-operator"
CA_CONFIG_MAP = "tunegate-ca"


def uid8(uid: str) -> str:
    """Return the first eight characters of a UID: enough to tell apart objects made again under one name."""
    return uid.replace("-", "")[:8]


def attempt_job_name(owner_name: str, stage: str, attempt: int, owner_uid: str) -> str:
    """Return the batch/v1 Job name of an attempt; at most 63 characters, since the Job's pods carry it as a label."""
    tail = hashlib.sha256(owner_uid.encode()).hexdigest()[:5]
    return f"{owner_name[:30].rstrip('-')}-{stage.lower()}-{attempt}-{tail}"


def workspace_claim_name(job_name: str, job_uid: str) -> str:
    """Return the name of the PersistentVolumeClaim that holds a job's checkpoints."""
    return f"{RESERVED}workspace-{job_name}-{uid8(job_uid)}"


def registry_secret_name(owner_name: str, owner_uid: str) -> str:
    """Return the name of the Secret with the registry credential of one job's stages, or of one server's pods."""
    return f"{RESERVED}registry-{owner_name}-{uid8(owner_uid)}"


def checkpoint_secret_name(job_name: str, job_uid: str) -> str:
    """Return the name of the Secret with the key of a job's checkpoints."""
    return f"{RESERVED}checkpoints-{job_name}-{uid8(job_uid)}"


def job_repository(namespace: str, job_name: str, job_uid: str) -> str:
    """Return the registry prefix that belongs to one job alone."""
    return f"{namespace}/{job_name}-{uid8(job_uid)}"


def stage_repository(job: FineTuneJob, stage: StageName) -> str:
    """Return the registry prefix below which result and answers of a stage lie: the job's, or that of an earlier job."""
    return job.status.stage(stage).repository or job_repository(job.namespace, job.name, job.uid)


def base_model_repository(base_model_name: str) -> str:
    """Return the registry prefix of a base model of the catalogue."""
    return f"catalogue/{base_model_name}"


def statement_repository(namespace: str, release_name: str, release_uid: str) -> str:
    """Return the registry repository of a release's statement."""
    return f"{namespace}/{release_name}-{uid8(release_uid)}/statement"


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """Return the controller reference that lets a child vanish together with ``owner``."""
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def server_labels(name: str) -> dict[str, str]:
    """Return the labels of everything that belongs to a server; the selector of its pods."""
    return {MANAGED_BY_LABEL: MANAGED_BY, SERVER_LABEL: name, "app.kubernetes.io/component": "serving"}


def job_labels(job_name: str, job_uid: str, stage: str, attempt: int) -> dict[str, str]:
    """Return the labels of everything that belongs to one attempt of a FineTuneJob's stage."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        JOB_LABEL: job_name,
        JOB_UID_LABEL: job_uid,
        STAGE_LABEL: stage,
        ATTEMPT_LABEL: str(attempt),
    }
