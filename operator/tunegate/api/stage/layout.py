"""Where things lie in a stage pod and in the registry: paths, ports, names and media types."""

from __future__ import annotations

CONFIG_PATH = "/etc/tunegate/config/stage.json"
REGISTRY_AUTH_PATH = "/etc/tunegate/registry/config.json"
"""Docker configuration file with the stage's own credential (``auths.<host>.registrytoken`` or ``auth``)."""
CA_PATH = "/etc/tunegate/ca/ca.crt"
"""Additional certificate authority for registry and MLflow; may be absent."""
STORE_DIR = "/etc/tunegate/store"
"""Files of the Secret that says where an S3-compatible store is and who may read it, named like AWS's environment variables."""
HUB_TOKEN = "HF_TOKEN"
HUB_AUTHORITY = "ca.crt"
"""Files in ``STORE_DIR`` where a model comes from a Hub mirror: what opens it, and who signs its certificate."""
STORE_REQUIRED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
TERMINATION_PATH = "/dev/termination-log"
BASE_MODEL_MOUNT = "/mnt/base"
DATASET_MOUNT = "/mnt/dataset"
SUITE_MOUNT = "/mnt/suite"
IMPORT_MOUNT = "/mnt/import"
BASE_RECORD_MOUNT = "/base-record"
BASE_RECORD_PATH = f"{BASE_RECORD_MOUNT}/base.json"
"""What `check-base` hashed before the engine started, and by which the stage sees whether it is still there."""
CHECKPOINT_KEY_PATH = "/etc/tunegate/checkpoints/key"
"""The key of the job by which a training knows its own checkpoints again."""
FURTHER_SUITES_MOUNT = "/mnt/suites"
"""One folder for each claim, by its name."""
DOCUMENTS_MOUNT = "/mnt/documents"
WORKSPACE_MOUNT = "/workspace"
TRAINED_ADAPTER = "adapter"
"""Folder of the workspace with the finished adapter."""
REDACTED_FILE = "redacted.jsonl"
"""In the workspace: the data set that all stages after validation read where a check redacts."""
ADAPTER_MOUNT = "/adapter"
"""Shared folder of an evaluation pod: `fetch` puts the verified adapter here, vLLM loads it from here."""
MAX_DOCUMENTS = 2000
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Bounds of `baseline.documents`, in files and in bytes of all of them. They are searched in the stage's memory: 32 MiB of
words that all differ take 1.1 GB, and 22 s of a core."""
PROGRESS_PORT = 8090
"""`GET /progress` on the pod answers with a ``ProgressReport``; no Kubernetes credential is needed to report."""
ENGINE_PORT = 8000
"""vLLM sidecar, on loopback of the pod only."""
BASE_SERVED_NAME = "base"
TUNED_SERVED_NAME = "tuned"

RESULT_MEDIA_TYPE = "application/vnd.tunegate.stage-result.v1+json"
ANSWERS_MEDIA_TYPE = "application/vnd.tunegate.answers.v2+jsonl"
ADAPTER_MEDIA_TYPE = "application/vnd.tunegate.adapter.v1"
DATA_STATEMENT_MEDIA_TYPE = "application/vnd.tunegate.data-statement.v1+json"
DATA_PAGE_MEDIA_TYPE = "application/vnd.tunegate.data-page.v1+html"
STATEMENT_MEDIA_TYPE = "application/vnd.tunegate.release-statement.v1+json"
OBJECT_MEDIA_TYPE = "application/vnd.tunegate.object.v1+json"
"""What is kept of an ended job or release that was removed from the cluster."""
