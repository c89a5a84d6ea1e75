"""The API server as one person sees it: the kubeconfig's credentials, a few verbs, errors in plain words.

``kubeconfig`` says where it is and what proves who calls.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import httpx

from tunegate.api.markers import API_VERSION, GROUP, Resource
from tunegate.cli.failure import AlreadyExists, Changed, CommandFailure, Forbidden, Unreachable, WrongCertificate
from tunegate.cli.kubeconfig import connection
from tunegate.cli.server_words import with_advice
from tunegate.server_certificates import certificate_fault

Json = dict[str, Any]
T = TypeVar("T", bound=Resource)
UNLIMITED = httpx.Timeout(30.0, read=None)
"""Of an answer that is followed: between two of its lines any time may pass."""

UNUSABLE = (
    OSError, httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError, TypeError, LookupError, AttributeError, RecursionError,
)  # fmt: skip
"""What parts of another form than a kubeconfig's raise: nobody compares each of them with a form."""
PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:-]+)+")
"""Of a request: no segment that leads elsewhere, nothing that would begin a query."""


class Cluster:
    """One connection, as one person."""

    def __init__(
        self,
        kubeconfig: str | None = None,
        context: str | None = None,
        as_: str | None = None,
        as_groups: tuple[str, ...] = (),
        token: str | None = None,
    ) -> None:
        """Read the kubeconfig (default: as kubectl does). Raises ``CommandFailure`` when it cannot be used.

        ``token`` proves who calls, in place of what the kubeconfig has for that.
        """
        headers = [("Accept", "application/json")]
        if as_:
            headers += [("Impersonate-User", as_), *(("Impersonate-Group", group) for group in as_groups)]
        self.impersonates = bool(as_)
        try:
            found = connection(kubeconfig, context, token)
            self.namespace = found.namespace
            self.bearer: str | None = found.credentials.bearer
            """The person's own token, where the kubeconfig has or makes one."""
            self._trust = found.trust
            self._http = httpx.Client(
                base_url=found.server, headers=headers, verify=found.trust, auth=found.credentials, timeout=30.0, proxy=found.proxy,
            )  # fmt: skip
        except UNUSABLE as error:
            # Its text may quote what it stumbled over, such as a token.
            raise CommandFailure(
                f"no usable kubeconfig: {type(error).__name__}. Set KUBECONFIG or give --kubeconfig"
            ) from error

    @classmethod
    def of(cls, options: Namespace) -> Cluster:
        """Open the connection that a command's options name."""
        return cls(options.kubeconfig, options.context, options.as_, tuple(options.as_group or ()))

    def get(self, model: type[T], name: str, namespace: str = "") -> T | None:
        """Return the object, or None when there is none. Raises ``Forbidden``."""
        answer = self._send("GET", f"{_path(model, namespace)}/{name}")
        return None if answer is None else model.model_validate(answer)

    def need(self, model: type[T], name: str, namespace: str = "") -> T:
        """Return the object. Raises ``CommandFailure`` when there is none."""
        found = self.get(model, name, namespace)
        if found is None:
            where = f" in namespace {namespace}" if namespace else ""
            raise CommandFailure(f"{model.KIND.kind} {name} does not exist{where}")
        return found

    def get_raw(self, model: type[Resource], name: str, namespace: str = "") -> Json | None:
        """Return the object as the API server has it, or None when there is none. Raises ``Forbidden``."""
        return self._send("GET", f"{_path(model, namespace)}/{name}")

    def all(self, model: type[T], namespace: str = "") -> list[T]:
        """Return all objects of a kind. Raises ``Forbidden``."""
        return [model.model_validate(one) for one in self.all_raw(model, namespace)]

    def all_raw(self, model: type[Resource], namespace: str = "") -> list[Json]:
        """Return all objects of a kind as the API server has them."""
        kind = {"apiVersion": API_VERSION, "kind": model.KIND.kind}
        return [{**kind, **one} for one in self.listed(_path(model, namespace))]

    def listed(self, path: str, selector: str = "") -> list[Json]:
        """Return all items of a collection, ours or one of Kubernetes, or those whose labels fit. Raises ``Forbidden``."""
        only = {"labelSelector": selector} if selector else {}
        found: list[Json] = []
        token = ""
        while True:
            page = self._send("GET", path, {**only, "limit": "500", "continue": token}) or {"items": []}
            try:
                found += page["items"] or []
                token = page.get("metadata", {}).get("continue") or ""
            except (KeyError, TypeError, AttributeError) as error:
                raise self._stranger() from error
            if not token:
                return found

    def read(self, path: str) -> Json | None:
        """Return what the API server has at a path, or None when there is nothing. Raises ``Forbidden``."""
        return self._send("GET", path)

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        """Yield the lines of an answer that may go on for long, such as a pod's log. Raises ``Forbidden``."""
        try:
            with self._http.stream("GET", path, params=dict(query), timeout=UNLIMITED) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    raise _refused(answer)
                yield from answer.iter_lines()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def create(self, model: type[Resource], obj: Json, namespace: str, *, dry_run: bool = False) -> Json:
        """Create the object; with ``dry_run`` let the server check it, admission included, and store nothing."""
        query = {"fieldValidation": "Strict", "fieldManager": "tunegate"} | ({"dryRun": "All"} if dry_run else {})
        return self._send("POST", _path(model, namespace), query, obj) or {}

    def patch(self, model: type[Resource], name: str, namespace: str, change: Json) -> Json:
        """Merge a change into the object. A uid or resourceVersion in its metadata is a precondition.

        Raises ``Changed`` where it does not hold.
        """
        path, query = f"{_path(model, namespace)}/{name}", {"fieldValidation": "Strict", "fieldManager": "tunegate"}
        return self._send("PATCH", path, query, change, content_type="application/merge-patch+json") or {}

    def namespace_exists(self, name: str) -> bool:
        """Tell whether there is a namespace of that name. Raises ``Forbidden``."""
        return self.read(f"/api/v1/namespaces/{name}") is not None

    def whoami(self) -> Json:
        """Return username, uid, groups and extra, as the API server proved them."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self._send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, review) or {}
        return dict(answer.get("status", {}).get("userInfo", {}))

    def may(self, verb: str, resource: str, name: str, namespace: str, *, group: str = GROUP) -> bool:
        """Tell whether this person holds a verb on a (possibly virtual) resource, of our group unless another is named.

        ``resource`` may be one with a subresource: `pods/log`.
        """
        kind, _, subresource = resource.partition("/")
        attributes = {
            "group": group, "verb": verb, "resource": kind, "subresource": subresource, "name": name,
            "namespace": namespace,
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, review) or {}
        return bool(answer.get("status", {}).get("allowed"))

    def account_token(self, namespace: str, name: str, audience: str | None, seconds: int) -> str:
        """Return a new token of a service account for one audience. Raises ``Forbidden`` without `create` on `serviceaccounts/token`.

        Without an ``audience`` it is for the API server.
        """
        audiences = {"audiences": [audience]} if audience else {}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {**audiences, "expirationSeconds": seconds},
        }
        try:
            answer = self._send("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {}, body) or {}
        except Forbidden as error:
            if self.may("list", "modelreleases", "", namespace) or self.may("list", "datasets", "", namespace):
                raise
            raise Forbidden(
                f"{error}. You hold no right of Tunegate in namespace {namespace} either: either it is the account's own, or it does not "
                "exist or is not governed: correct -n"
            ) from error
        return str(answer.get("status", {}).get("token", ""))

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json | None:
        headers = {"Content-Type": content_type} if body is not None else {}
        if not PATH.fullmatch(path):
            raise CommandFailure(
                f"{path[:200]!a} is no address of the API server: names are letters, digits, - . and _"
            )
        try:
            answer = self._http.request(method, path, params=dict(query or {}), json=body, headers=headers)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.status_code < 300:
            try:
                return dict(answer.json())
            except (ValueError, TypeError) as error:
                raise self._stranger() from error
        unknown_kind = "could not find the requested resource" in _message(answer)
        if answer.status_code == 404 and method == "GET" and not unknown_kind:
            return None
        raise _refused(answer)

    def _stranger(self) -> CommandFailure:
        return CommandFailure(f"{self._http.base_url} is no Kubernetes API server: look at `server` in the kubeconfig")

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        server = f"the API server at {self._http.base_url}"
        if fault := certificate_fault(error, self._trust):
            hint = ". Look at `certificate-authority` in the kubeconfig" if fault.of_authority else ""
            return WrongCertificate(f"{server}: {fault.text}{hint}", of_authority=fault.of_authority)
        return Unreachable(f"{server} does not answer: {error}")


def readable(read: Any, *arguments: Any, **options: Any) -> Any:
    """Return what ``read`` gives, or None where the person may not look."""
    try:
        return read(*arguments, **options)
    except Forbidden:
        return None


def _path(model: type[Resource], namespace: str) -> str:
    scope = f"/namespaces/{namespace}" if model.KIND.scope == "Namespaced" and namespace else ""
    return f"/apis/{API_VERSION}{scope}/{model.KIND.plural}"


def _refused(answer: httpx.Response) -> CommandFailure:
    message = _message(answer)
    if answer.status_code in (400, 401, 403, 422):
        return Forbidden(message)
    if answer.status_code == 409 and answer.json().get("reason") == "AlreadyExists":
        return AlreadyExists(message)
    if answer.status_code == 409 and answer.json().get("reason") == "Conflict":
        return Changed(message)
    return CommandFailure(f"{message} ({answer.status_code})")


def _message(answer: httpx.Response) -> str:
    try:
        message = str(answer.json().get("message") or answer.reason_phrase)
    except ValueError:
        message = answer.text[:500] or answer.reason_phrase
    # The API server puts policy and binding in front; what to do comes after.
    return with_advice(message.split("denied request: ")[-1])
