"""The Kubernetes objects of a ModelServer: one Deployment and what its pods read, may and are reached by.

A pod hashes its base model, then runs the container that fetches adapters, then vLLM on a Unix socket, then the gateway. The
second and third are native sidecars (init containers that keep running) rather than further containers, because the kubelet stops
sidecars last: on termination the gateway finishes its requests while the engine is still there to answer them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.api import serving
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.markers import GROUP, RESERVED
from tunegate.api.modelserver import ModelServerSpec
from tunegate.api.serving import AdaptersDocument, RoutesDocument, ServerDocument, adapters_name, routes_name
from tunegate.api.shared import Resources
from tunegate.api.stage.layout import BASE_MODEL_MOUNT, BASE_SERVED_NAME, CA_PATH, REGISTRY_AUTH_PATH
from tunegate.digests import document_digest
from tunegate.manifests.downloads import CONFIG_DIGEST_FLAG, Download
from tunegate.manifests.engine import ENGINE_DEVICES, engine_args, engine_command, engine_env
from tunegate.manifests.engine_probes import liveness_probe
from tunegate.manifests.pods import (
    container_resources,
    container_security,
    placement,
    pod_basics,
    scratch_mounts,
    scratch_volumes,
    threads,
)
from tunegate.manifests.rollouts import ROLLOUT_ANNOTATION, ROLLOUT_FILE, Rollout, documents_name, rollout_name
from tunegate.manifests.stage_job import STAGE_COMMAND

CONFIGURATION_ANNOTATION = f"{GROUP}/configuration"
"""On Deployment and pods: digest of the documents they were made from."""
RESTARTED_ANNOTATION = f"{GROUP}/restarted-at"
"""On pods: `spec.restartedAt` of the server."""
OPENS_ANNOTATION = f"{GROUP}/opens"
"""On the registry credential: digest of the list of repositories that it opens."""
ENGINE_CONTAINER = "engine"
GATEWAY_CONTAINER = "gateway"
CHECK_CONTAINER = "check-base"
FETCH_CONTAINER = "adapters"
CHECKING = Resources(cpu="100m", memory="384Mi")
FETCHING = Resources(cpu="20m", memory="256Mi")
"""Of the container that fetches adapters, which holds none of them in memory."""
GATEWAY_CPU = "100m"
GATEWAY_MEBIBYTES = 448
"""Of the gateway itself, of whole answers, and of the two processes that read them and bodies beside it."""
READ_MEBIBYTES = 64
"""More for each MiB that a body may have: read as JSON in the worst form it takes 28 times as much, in two processes at once."""
BACKEND = "--structured-outputs-config.backend=xgrammar"
"""Left to itself, vLLM 0.32 takes another library for what this one refuses, and keeps the first one that was needed for
everybody. The gateway's bounds on schemas and patterns are measured on this one."""
COPYING = Resources(cpu="100m", memory="1Gi")
"""Of the container that copies a base model: as much as hashing one takes."""
TLS_MEBIBYTES = 640
"""More with TLS, for whose buffers Python takes 300 KiB for each of the gateway's 2,048 connections."""
GRACE_SECONDS = 300
"""Longer than the gateway's delay and bound for draining together (``tunegate.gateway.settings.Limits``)."""
TOKEN_SECONDS = 3600
SCRATCH = "/tmp"  # noqa: S108 - an empty volume of the pod's own


@dataclass(frozen=True)
class Serving:
    """Everything that decides what a server's objects look like."""

    name: str
    namespace: str
    spec: ModelServerSpec
    owner: Mapping[str, Any]
    labels: Mapping[str, str]
    """Of every object, and the selector of the pods."""
    pool: ComputePoolSpec
    base: str | Download
    """The claim that holds the base model, or how it is copied into each pod."""
    document: ServerDocument
    operator_image: str
    trainer_image: str
    service_account: str
    ca_config_map: str
    registry_secret: str
    api_keys_secret: str | None = None
    tls_secret: str | None = None
    pull_secrets: Sequence[str] = ()

    @property
    def data(self) -> dict[str, str]:
        """The documents that pods mount; sorted, so that equal content is equal text."""
        copied = {self.base.config_file: self.base.config_text} if isinstance(self.base, Download) else {}
        return {
            serving.SERVER_FILE: json.dumps(self.document.to_dict(), sort_keys=True),
            **copied,
        }

    @property
    def configuration(self) -> str:
        """Digest of the documents: another digest is another ConfigMap and a rollout."""
        return document_digest(self.data)


def deployment_name(server: str) -> str:
    """Return the name of a server's Deployment."""
    return f"{server}-engine"


def config_maps(made: Serving, rollout: Rollout) -> list[dict[str, Any]]:
    """Return the immutable ConfigMaps of a rollout: what its pods mount, and its own document."""
    return [
        _config_map(made, documents_name(made.name, rollout.configuration), rollout.documents),
        _config_map(made, rollout_name(made.name, rollout.digest), {ROLLOUT_FILE: rollout.content}),
    ]


def _config_map(made: Serving, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(made, name),
        "immutable": True,
        "data": dict(data),
    }


def routes_config_map(
    server: str, namespace: str, document: RoutesDocument, *, labels: Mapping[str, str], owner: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the live ConfigMap of routes. It needs nothing but the decision: closing a route waits for no other object."""
    data = {serving.ROUTES_KEY: json.dumps(document.to_dict(), sort_keys=True)}
    return _live(routes_name(server), namespace, data, labels, owner)


def adapters_config_map(made: Serving, document: AdaptersDocument) -> dict[str, Any]:
    """Return the live ConfigMap of the adapters that pods shall hold; sorted, so that equal content is equal text."""
    entries = sorted(document.adapters, key=lambda entry: entry.served_name)
    text = json.dumps(AdaptersDocument(adapters=entries).to_dict(), sort_keys=True)
    return _live(adapters_name(made.name), made.namespace, {serving.ADAPTERS_KEY: text}, made.labels, made.owner)


def _live(
    name: str, namespace: str, data: Mapping[str, str], labels: Mapping[str, str], owner: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels),
            "ownerReferences": [dict(owner)],
        },
        "data": dict(data),
    }


def fixtures(made: Serving) -> list[dict[str, Any]]:
    """Return what a server has beside its pods: Service, rights of its gateways, and a disruption budget."""
    role = f"{RESERVED}gateway-{made.name}"
    subject = {"kind": "ServiceAccount", "name": made.service_account, "namespace": made.namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(made, made.name),
            "spec": {
                # Said although it is the default: an apply takes back only what it says.
                "type": "ClusterIP",
                "selector": dict(made.labels),
                "ports": [_service_port(made)],
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": _metadata(made, role),
            "rules": _gateway_rules(made),
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(made, role),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [subject],
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(made, made.name),
            "spec": {
                # One replica could never be drained under a budget that keeps one up.
                "maxUnavailable": 1,
                "selector": {"matchLabels": dict(made.labels)},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        },
    ]


def _gateway_rules(made: Serving) -> list[dict[str, Any]]:
    """Return what a gateway needs: watch its two documents, and read the credential that opens what it is told to hold.

    All servers of a namespace run under one account, which the bindings of all of them add to.
    """
    names = [routes_name(made.name), adapters_name(made.name)]
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": ["get", "list", "watch"]}
    ]
    if made.document.credential_secret is not None:
        secret = [made.document.credential_secret]
        rules.append({"apiGroups": [""], "resources": ["secrets"], "resourceNames": secret, "verbs": ["get"]})
    return rules


def _service_port(made: Serving) -> dict[str, Any]:
    name, port = ("https", 443) if made.tls_secret else ("http", 80)
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}


def pod_template(made: Serving) -> dict[str, Any]:
    """Return the template of the pods as this version of the operator makes it."""
    annotations = {CONFIGURATION_ANNOTATION: made.configuration}
    if made.spec.restarted_at is not None:
        annotations[RESTARTED_ANNOTATION] = made.spec.restarted_at
    return {"metadata": {"labels": dict(made.labels), "annotations": annotations}, "spec": _pod(made)}


def deployment(made: Serving, rollout: Rollout) -> dict[str, Any]:
    """Return the Deployment. `Surge` never has fewer pods than asked for; `Recreate` is for a pool that is full."""
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    annotations = {CONFIGURATION_ANNOTATION: rollout.configuration, ROLLOUT_ANNOTATION: rollout.digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**_metadata(made, deployment_name(made.name)), "annotations": annotations},
        "spec": {
            "replicas": made.spec.replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 3600,
            "selector": {"matchLabels": dict(made.labels)},
            "strategy": surge if made.spec.strategy == "Surge" else {"type": "Recreate"},
            "template": dict(rollout.template),
        },
    }


def _pod(made: Serving) -> dict[str, Any]:
    return {
        **pod_basics(made.service_account, made.pull_secrets),
        **placement(made.pool, pinned=True),
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "initContainers": [*_copy_model(made), _check_base(made), _fetch(made), _engine(made)],
        "containers": [_gateway(made)],
        "volumes": _volumes(made),
    }


def _copy_model(made: Serving) -> list[dict[str, Any]]:
    """Return the container that copies the base model from a Hub mirror, if that is where it comes from."""
    if not isinstance(made.base, Download):
        return []
    container = {
        "name": made.base.container,
        "image": made.trainer_image,
        "command": STAGE_COMMAND,
        "args": ["--config", f"{serving.CONFIG_DIR}/{made.base.config_file}", *made.base.arguments],
        "env": [{"name": "HOME", "value": SCRATCH}, {"name": "PYTHONUNBUFFERED", "value": "1"}],
        "securityContext": container_security(),
        "resources": container_resources(COPYING),
        "volumeMounts": [
            {"name": "check-tmp", "mountPath": SCRATCH},
            _read_only("documents", serving.CONFIG_DIR),
            _read_only("ca", CA_PATH.rpartition("/")[0]),
            *made.base.own_mounts,
        ],
    }
    return [container]


def _check_base(made: Serving) -> dict[str, Any]:
    return {
        **_own_container(made, CHECK_CONTAINER, "check-base"),
        "volumeMounts": [
            {"name": "check-tmp", "mountPath": SCRATCH},
            {"name": "checked", "mountPath": serving.CHECKED_DIR},
            _read_only("documents", serving.CONFIG_DIR),
            _read_only("base", BASE_MODEL_MOUNT),
        ],
    }


def _fetch(made: Serving) -> dict[str, Any]:
    """Return the container that fetches adapters. Only where the site's own credential opens the registry it is mounted here."""
    own = made.document.credential_secret is None
    credential = [_read_only("registry", REGISTRY_AUTH_PATH.rpartition("/")[0])] if own else []
    return {
        **_own_container(made, FETCH_CONTAINER, "adapters"),
        "restartPolicy": "Always",
        "resources": container_resources(FETCHING),
        "volumeMounts": [
            {"name": "fetch-tmp", "mountPath": SCRATCH},
            {"name": "fetch", "mountPath": serving.FETCH_DIR},
            {"name": "adapters", "mountPath": serving.ADAPTERS_DIR},
            _read_only("documents", serving.CONFIG_DIR),
            _read_only("ca", CA_PATH.rpartition("/")[0]),
            *credential,
        ],
    }


def _engine(made: Serving) -> dict[str, Any]:
    profile = made.spec.profile
    arguments = engine_args(
        profile,
        made.document.base.path,
        BASE_SERVED_NAME,
        uds=serving.ENGINE_SOCKET,
        max_cpu_loras=made.document.max_cpu_loras,
    )
    if (parser := made.document.tool_parser) is not None:
        arguments += ["--enable-auto-tool-choice", f"--tool-call-parser={parser}"]
    on_device = made.pool.device_resource if profile.device != "CPU" else None
    return {
        "name": ENGINE_CONTAINER,
        "image": profile.image,
        "restartPolicy": "Always",
        "command": engine_command(serving.ENGINE_SOCKET),
        "args": [*arguments, BACKEND],
        "env": engine_env(profile, threads=threads(made.spec.resources), loads=True),
        "securityContext": container_security(),
        "resources": container_resources(made.spec.resources, on_device, ENGINE_DEVICES),
        "livenessProbe": liveness_probe(serving.ENGINE_SOCKET),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *scratch_mounts("engine-tmp"),
            {"name": "run", "mountPath": serving.ENGINE_SOCKET_DIR},
            _read_only("adapters", serving.ADAPTERS_DIR),
            _read_only("base", BASE_MODEL_MOUNT),
        ],
    }


def _gateway(made: Serving) -> dict[str, Any]:
    scheme, port = ("HTTPS", "https") if made.tls_secret else ("HTTP", "http")
    mounts = [_read_only("tls", serving.TLS_DIR)] if made.tls_secret else []
    return {
        **_own_container(made, GATEWAY_CONTAINER, "gateway"),
        "resources": container_resources(_gateway_resources(made)),
        "ports": [
            {"name": port, "containerPort": serving.GATEWAY_PORT, "protocol": "TCP"},
            {"name": "status", "containerPort": serving.STATUS_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": port, "scheme": scheme}, "periodSeconds": 2, "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": port, "scheme": scheme}, "periodSeconds": 15, "timeoutSeconds": 10,
            "failureThreshold": 4,
        },
        "volumeMounts": [
            {"name": "gateway-tmp", "mountPath": SCRATCH},
            _read_only("run", serving.ENGINE_SOCKET_DIR),
            _read_only("fetch", serving.FETCH_DIR),
            _read_only("checked", serving.CHECKED_DIR),
            _read_only("documents", serving.CONFIG_DIR),
            _read_only("base", BASE_MODEL_MOUNT),
            _read_only("api-keys", serving.API_KEYS_DIR),
            _read_only("token", serving.TOKEN_DIR),
            *mounts,
        ],
    }  # fmt: skip


def _gateway_resources(made: Serving) -> Resources:
    mebibytes = GATEWAY_MEBIBYTES + math.ceil(READ_MEBIBYTES * made.document.body_bytes / 2**20)
    mebibytes += TLS_MEBIBYTES if made.document.tls else 0
    return Resources(cpu=GATEWAY_CPU, memory=f"{mebibytes}Mi")


def _own_container(made: Serving, name: str, command: str) -> dict[str, Any]:
    """Return what containers of the operator's image share, which holds this very code."""
    return {
        "name": name,
        "image": made.operator_image,
        "command": ["python3", "-m", "tunegate", command],
        # The template is protected, a ConfigMap is what its maker put into it: both refuse other documents.
        "args": [CONFIG_DIGEST_FLAG, made.configuration],
        "env": [{"name": "HOME", "value": SCRATCH}, {"name": "PYTHONUNBUFFERED", "value": "1"}],
        "securityContext": container_security(),
        "resources": container_resources(CHECKING),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _volumes(made: Serving) -> list[dict[str, Any]]:
    keys: dict[str, Any] = {"name": "api-keys", "emptyDir": {}}
    if made.api_keys_secret:
        keys = {"name": "api-keys", "secret": {"secretName": made.api_keys_secret, "optional": True}}
    token = {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    }
    certificate = [{"name": "tls", "secret": {"secretName": made.tls_secret}}] if made.tls_secret else []
    if isinstance(made.base, Download):
        base = made.base.volumes
    else:
        base = [{"name": "base", "persistentVolumeClaim": {"claimName": made.base, "readOnly": True}}]
    own = made.document.credential_secret is None
    return [
        *scratch_volumes("check-tmp", "fetch-tmp", "engine-tmp", "gateway-tmp", "checked", "fetch", "adapters", "run"),
        {"name": "documents", "configMap": {"name": documents_name(made.name, made.configuration)}},
        *base,
        *([{"name": "registry", "secret": {"secretName": made.registry_secret}}] if own else []),
        {"name": "ca", "configMap": {"name": made.ca_config_map, "optional": True}},
        keys,
        {"name": "token", "projected": token},
        *certificate,
    ]


def _read_only(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}


def _metadata(made: Serving, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": made.namespace,
        "labels": dict(made.labels),
        "ownerReferences": [dict(made.owner)],
    }
