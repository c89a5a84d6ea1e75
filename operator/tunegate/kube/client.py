"""KubeClient: the few verbs of the Kubernetes API that reconcilers need, over plain dicts.

It rides on the dynamic client of ``kubernetes.aio`` for transport and authentication. Discovery is our own: the library's
keeps a cache file per host name in the temporary folder, which outlives a cluster that was made again.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.request import getproxies

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient

from tunegate.api.conditions import rfc3339
from tunegate.api.markers import GROUP
from tunegate.api.shared import Person
from tunegate.deadlines import API_SERVER_SECONDS
from tunegate.errors import Transient
from tunegate.kube.errors import (
    TRANSPORT_ERRORS,
    AlreadyExists,
    Conflict,
    NotFound,
    NotLeading,
    Refused,
    mapped,
    unreachable,
)
from tunegate.kube.references import ObjectKey, ObjectRef

__all__ = ["AlreadyExists", "Conflict", "KubeClient", "NotFound", "ObjectKey", "ObjectRef", "Refused"]

FIELD_MANAGER = "tunegate-operator"
PAGE = 500
LARGEST_LOG_BYTES = 256 * 1024
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
Json = dict[str, Any]


@dataclass(frozen=True)
class _Resource:
    plural: str
    namespaced: bool


class KubeClient:
    """Client of one API server. Every method raises ``Transient`` or ``Terminal`` (see ``tunegate.kube.errors``)."""

    def __init__(
        self, api: ApiClient, *, timeout: float = API_SERVER_SECONDS, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        """``timeout`` is the whole time of one request, in seconds; ``may_write`` is asked before each that changes something."""
        self._api = api
        self._may_write = may_write
        self._dynamic = DynamicClient(api)
        self._timeout = timeout
        self._resources: dict[str, dict[str, _Resource]] = {}

    @classmethod
    async def connect(cls, kubeconfig: str | None = None, *, timeout: float = API_SERVER_SECONDS) -> Self:
        """Return a client for ``kubeconfig``, or for the pod's own service account when it is None."""
        # Looking for a proxy of each request takes two changes of thread, as long as all the rest of it.
        configuration = Configuration(client_session_kwargs={"trust_env": bool(getproxies())})
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
        return cls(ApiClient(configuration), timeout=timeout)

    def writing_while(self, may_write: Callable[[], bool]) -> KubeClient:
        """Return a client on the same connections that writes only while ``may_write`` says so; else ``NotLeading``."""
        return KubeClient(self._api, timeout=self._timeout, may_write=may_write)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def require_kind(self, api_version: str, kind: str) -> None:
        """Raise ``NotFound`` when the API server does not know the kind."""
        await self._discover(api_version, kind)

    async def get(self, ref: ObjectRef, *, subresource: str | None = None) -> Json | None:
        """Return the object, or None when there is none."""
        try:
            return await self._request("GET", await self._path(ref, subresource), f"get {ref}")
        except NotFound:
            return None

    async def knows(self, api_version: str, kind: str) -> bool:
        """Tell whether the cluster has objects of this kind."""
        try:
            await self._discover(api_version, kind)
        except NotFound:
            return False
        return True

    async def list(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        fields: str | None = None,
    ) -> list[Json]:
        """Return all objects of a kind; ``namespace`` empty means all namespaces."""
        pages = self.pages(api_version, kind, namespace, labels=labels, fields=fields)
        return [item async for page in pages for item in page]

    async def pages(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[builtins.list[Json]]:
        """Yield all objects of a kind, a page at a time, as they were when the first one was read."""
        path = await self._path(ObjectRef(api_version, kind, "", namespace))
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items()) or None
        token: str | None = None
        while True:
            page = await self._request(
                "GET", path, f"list {kind}", label_selector=selector, field_selector=fields, limit=PAGE, _continue=token
            )
            yield [{"apiVersion": api_version, "kind": kind, **item} for item in page.get("items") or []]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return

    async def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create the object, or with ``dry_run`` only have it checked and completed. Raises ``AlreadyExists``."""
        ref = ObjectRef.of({**obj, "metadata": {"name": "", **obj["metadata"]}})
        path = await self._path(ObjectRef(ref.api_version, ref.kind, "", ref.namespace))
        return await self._request(
            "POST",
            path,
            f"create {ref}",
            body=dict(obj),
            field_manager=FIELD_MANAGER,
            dry_run="All" if dry_run else None,
            query_params=[("fieldValidation", "Strict")],
        )

    async def apply(
        self, obj: Mapping[str, Any], *, manager: str = FIELD_MANAGER, subresource: str | None = None
    ) -> Json:
        """Apply the object server-side, with force: ``manager`` owns exactly the fields in ``obj``."""
        ref = ObjectRef.of(obj)
        path = await self._path(ref, subresource)
        return await self._request(
            "PATCH",
            path,
            f"apply {ref}",
            body=dict(obj),
            content_type=APPLY,
            field_manager=manager,
            force_conflicts=True,
            query_params=[("fieldValidation", "Strict")],
        )

    async def patch(self, ref: ObjectRef, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Change the object by a JSON patch. Raises ``Conflict`` when a ``test`` in it fails: the object changed."""
        try:
            return await self._request(
                "PATCH",
                await self._path(ref),
                f"patch {ref}",
                body=list(operations),
                content_type=JSON_PATCH,
                field_manager=FIELD_MANAGER,
                query_params=[("fieldValidation", "Strict")],
            )
        except Refused as error:
            # The API server answers a failed "test" with 422, as it does a change that it does not allow.
            if error.code == 422 and "test" in error.message and "failed" in error.message:
                raise Conflict(error.message) from error
            raise

    async def replace(self, obj: Mapping[str, Any]) -> Json:
        """Write the whole object back. Raises ``Conflict`` when it changed since it was read."""
        ref = ObjectRef.of(obj)
        return await self._request("PUT", await self._path(ref), f"replace {ref}", body=dict(obj))

    async def delete(self, ref: ObjectRef, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """Delete with background propagation. An object that is gone, or has another ``uid``, is a success.

        ``grace_seconds``: what a pod is left to end, instead of what its spec says.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid or ref.uid:
            body["preconditions"] = {"uid": uid or ref.uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._request("DELETE", await self._path(ref), f"delete {ref}", body=body)
        except (NotFound, Conflict):
            return

    async def add_finalizer(self, obj: Mapping[str, Any], finalizer: str) -> None:
        """Add a finalizer unless the object has it. Raises ``Conflict`` when the object changed meanwhile."""
        present = list(obj["metadata"].get("finalizers") or [])
        if finalizer not in present:
            await self._set_finalizers(obj, [*present, finalizer])

    async def remove_finalizer(self, obj: Mapping[str, Any], finalizer: str) -> None:
        """Remove a finalizer. Raises ``Conflict`` when the object changed meanwhile."""
        present = list(obj["metadata"].get("finalizers") or [])
        if finalizer in present:
            await self._set_finalizers(obj, [name for name in present if name != finalizer])

    async def create_event(self, about: Mapping[str, Any], *, type_: str, reason: str, message: str) -> None:
        """Post an Event on ``about``; events of cluster-scoped objects go to the namespace `default`."""
        ref = ObjectRef.of(about)
        now = rfc3339(datetime.now(UTC))
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{ref.name[:50]}.", "namespace": ref.namespace or "default"},
            "involvedObject": {
                "apiVersion": ref.api_version,
                "kind": ref.kind,
                "name": ref.name,
                "namespace": ref.namespace,
                "uid": about["metadata"]["uid"],
            },
            "type": type_,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": GROUP,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self.create(event)

    async def allowed(self, person: Person, *, verb: str, resource: str, name: str, namespace: str = "") -> bool:
        """Ask RBAC whether ``person`` may do ``verb`` on a (possibly virtual) resource of our API group."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": person.username,
                "uid": person.uid or "",
                "groups": list(person.groups),
                "extra": person.extra,
                "resourceAttributes": {
                    "group": GROUP,
                    "verb": verb,
                    "resource": resource,
                    "name": name,
                    "namespace": namespace,
                },
            },
        }
        answer = await self.create(review)
        return bool(answer.get("status", {}).get("allowed"))

    async def pod_logs(self, namespace: str, pod: str, container: str, *, tail: int = 50) -> str:
        """Return the last lines of a container's log."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = [("container", container), ("tailLines", str(tail))]
        doing = f"logs of {namespace}/{pod}"
        response = await self._send("GET", path, doing, serialize=False, query_params=query)
        try:
            content = bytearray()
            async for piece in response.content.iter_chunked(64 * 1024):
                content += piece
                if len(content) >= LARGEST_LOG_BYTES:
                    break
        except TRANSPORT_ERRORS as error:
            raise unreachable(error, doing) from error
        finally:
            response.release()
        return bytes(content).decode(errors="replace")

    async def _set_finalizers(self, obj: Mapping[str, Any], finalizers: Sequence[str]) -> None:
        ref = ObjectRef.of(obj)
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": list(finalizers)},
        ]
        try:
            await self._request(
                "PATCH", await self._path(ref), f"set finalizers of {ref}", body=patch, content_type=JSON_PATCH
            )
        except Refused as error:
            # The API server answers a failed "test" of a JSON patch with 422.
            if error.code == 422:
                raise Conflict(error.message) from error
            raise

    async def _path(self, ref: ObjectRef, subresource: str | None = None) -> str:
        resource = await self._discover(ref.api_version, ref.kind)
        parts = [_prefix(ref.api_version)]
        if resource.namespaced and ref.namespace:
            parts.append(f"namespaces/{ref.namespace}")
        parts += [part for part in (resource.plural, ref.name, subresource) if part]
        return "/".join(parts)

    async def _discover(self, api_version: str, kind: str) -> _Resource:
        known = self._resources.get(api_version, {})
        if kind not in known:
            listing = await self._request("GET", _prefix(api_version), f"discover {api_version}")
            known = {
                entry["kind"]: _Resource(entry["name"], bool(entry["namespaced"]))
                for entry in listing.get("resources") or []
                if "/" not in entry["name"]
            }
            self._resources[api_version] = known
        if kind not in known:
            raise NotFound(f"the API server does not know kind {kind} of {api_version}: is the CRD chart installed?")
        return known[kind]

    async def _request(self, method: str, path: str, doing: str, **params: Any) -> Json:
        answer = await self._send(method, path, doing, serializer=lambda _, data: data, **params)
        return dict(answer)

    async def _send(self, method: str, path: str, doing: str, **params: Any) -> Any:
        if method != "GET" and not self._may_write():
            raise NotLeading(f"{doing}: not sent, this process does not hold the lease any more")
        try:
            return await self._dynamic.request(method, path, _request_timeout=self._timeout, **params)
        except ApiException as error:
            raise mapped(error, doing) from error
        except TRANSPORT_ERRORS as error:
            raise unreachable(error, doing) from error
        except ValueError as error:
            raise Transient(f"{doing}: the API server's answer is no JSON: {error}") from error


def _prefix(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
