"""A small OCI distribution client: push and pull artifacts by digest, and believe no byte that was not hashed here.

Synchronous on purpose: stages are synchronous, and the operator calls it in a thread. Source of the protocol: OCI
Distribution Specification 1.1 and OCI Image Specification 1.1 (artifacts are image manifests with an `artifactType`).
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from tunegate import digests
from tunegate.registry import artifact
from tunegate.registry.artifact import EMPTY, EMPTY_TYPE, INDEX_TYPE, MANIFEST_TYPE, Artifact, Layer
from tunegate.registry.credentials import answer_challenge, read_credential
from tunegate.registry.failures import (
    DigestMismatch,
    Full,
    Missing,
    ReadOnly,
    Refused,
    Unauthorized,
    Unavailable,
    Untrusted,
)
from tunegate.server_certificates import certificate_fault

MAX_MANIFEST = 4 * 1024 * 1024
MAX_DOCUMENT = 64 * 1024 * 1024
CHUNK = 1024 * 1024
TAGS_PAGE = 500
ATTEMPTS = 4
"""Tries of one request while the registry is unavailable, with pauses of 0.5, 1 and 2 seconds; more with patience."""
LONGEST_PAUSE_SECONDS = 15.0
LARGEST_COMPLAINT = 64 * 1024
NO_ROOM = ("no space left on device", "disk quota exceeded", "quota exceeded when processing")
"""How registries say that there is no room: distribution with the words of its file system, Harbor in those of its quota."""


class RegistryClient:
    """One registry, one set of credentials. Safe to use from several threads."""

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool = False,
        auth_file: Path | None = None,
        ca_file: Path | None = None,
        token_source: Callable[[str], str] | None = None,
        timeout: float = 60.0,
        total: float | None = None,
        patience: float = 0.0,
    ) -> None:
        """``host`` is `name[:port]`; ``token_source`` gives a bearer token for a repository and goes before the file.

        ``timeout`` is for each read and write, ``total`` for one whole request with all its tries; both in seconds. None:
        stages fetch files that take as long as they take. ``patience``: for how many seconds a registry that is away,
        read-only or full is tried again beyond the usual tries.

        The authentication file is read for every request: a rotated credential acts at once.
        """
        self._host = host
        self._base = f"{'http' if plain_http else 'https'}://{host}"
        self._auth_file = auth_file
        self._token_source = token_source
        self._total = total
        self._patience = patience
        timeout = timeout if total is None else min(timeout, total)
        self._trust = trust(ca_file)
        self._http = httpx.Client(timeout=timeout, verify=self._trust, trust_env=False, follow_redirects=True)

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # Writing

    def push_document(self, repository: str, content: bytes, media_type: str) -> str:
        """Store ``content`` as an artifact with one layer; return the manifest's digest. Idempotent."""
        layer = self.push_blob(repository, content, media_type)
        return self.push_artifact(repository, media_type, [layer])

    def push_blob(self, repository: str, content: bytes | Path, media_type: str, *, title: str = "") -> Layer:
        """Store bytes or a file as a blob and return its description; a blob that is there is not sent again."""
        if isinstance(content, Path):
            digest, size = digests.file_digest(content), content.stat().st_size
        else:
            digest, size = digests.sha256(content), len(content)
        layer = Layer(media_type, digest, size, title)
        found = self._send("HEAD", repository, f"blobs/{digest}", accept_missing=True)
        if found.status_code == 200:
            return layer
        # Each try begins an upload of its own: what a broken one left is kept, and a second body would be put behind it.
        self._send("PUT", repository, lambda: self._begin_upload(repository, digest), content=content, size=size)
        return layer

    def _begin_upload(self, repository: str, digest: str) -> httpx.URL:
        """Return where a blob can be sent now."""
        started = self._send("POST", repository, "blobs/uploads/", tries=1)
        target = started.url.join(started.headers["Location"])
        if not self._is_own(target):
            raise Refused(
                f"{repository}: the registry sends the upload to another host or to one without TLS; no credential goes there"
            )
        return target.copy_merge_params({"digest": digest})

    def push_artifact(self, repository: str, artifact_type: str, layers: Sequence[Layer]) -> str:
        """Store a manifest over blobs that were pushed before; return its digest. The bytes are RFC 8785 JSON."""
        return self.push_manifest(repository, Artifact(artifact_type, tuple(layers)))[0]

    def push_manifest(self, repository: str, made: Artifact, tag: str | None = None) -> tuple[str, bool]:
        """Store a manifest, named by ``tag`` too where one is given.

        Return its digest, and whether the registry itself lists it as a referrer of its subject.
        """
        self.push_blob(repository, EMPTY, EMPTY_TYPE)
        content = artifact.write(made)
        digest = digests.sha256(content)
        answer = self._send("PUT", repository, f"manifests/{tag or digest}", content=content, media_type=MANIFEST_TYPE)
        return digest, "OCI-Subject" in answer.headers

    def push_index(self, repository: str, tag: str, content: bytes) -> None:
        """Let ``tag`` name an index, whatever it named before."""
        self._send("PUT", repository, f"manifests/{tag}", content=content, media_type=INDEX_TYPE)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Take a manifest out of a repository; its blobs stay until the registry collects its garbage.

        Raises ``Missing`` where there is none, ``ReadOnly`` where the registry deletes nothing.
        """
        self._send("DELETE", repository, f"manifests/{digest}")

    # Reading

    def exists(self, repository: str, digest: str) -> bool:
        """Tell whether the registry has a manifest of that digest."""
        found = self._send("HEAD", repository, f"manifests/{digest}", accept_missing=True)
        return found.status_code == 200

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Return how many bytes a blob of the repository has, or None where it has no such blob."""
        found = self._send("HEAD", repository, f"blobs/{digest}", accept_missing=True)
        return int(found.headers.get("Content-Length", -1)) if found.status_code == 200 else None

    def tags(self, repository: str) -> list[str]:
        """Return all tags of a repository; none where it does not exist."""
        found: list[str] = []
        target: str | httpx.URL = f"tags/list?n={TAGS_PAGE}"
        while True:
            answer = self._send("GET", repository, target, accept_missing=True)
            if answer.status_code == 404:
                return found
            found += answer.json().get("tags") or []
            further = answer.links.get("next", {}).get("url")
            if further is None:
                return found
            target = answer.url.join(further)
            if not self._is_own(target):
                raise Refused(f"{repository}: the registry continues its list of tags on another host")

    def pull_tagged(self, repository: str, tag: str) -> Artifact | None:
        """Return what the manifest says that ``tag`` names now, or None. A tag proves nothing about what it names."""
        content = self.pull_index(repository, tag)
        try:
            return None if content is None else artifact.read(content)
        except ValueError as error:
            raise Refused(f"{repository}:{tag}: {error}") from error

    def pull_manifest(self, repository: str, digest: str) -> bytes:
        """Return the bytes of the manifest ``digest``. Raises ``DigestMismatch`` when they hash to something else."""
        content = b"".join(self._stream(repository, f"manifests/{digest}", limit=MAX_MANIFEST))
        _check(repository, digest, digests.sha256(content))
        return content

    def pull_index(self, repository: str, tag: str) -> bytes | None:
        """Return the index that ``tag`` names now, or nothing. A tag proves nothing about what it names."""
        try:
            return b"".join(self._stream(repository, f"manifests/{tag}", limit=MAX_MANIFEST))
        except Missing:
            return None
        except DigestMismatch as error:
            raise Refused(f"{repository}:{tag}: an index has at most {MAX_MANIFEST} bytes") from error

    def pull_artifact(self, repository: str, digest: str) -> Artifact:
        """Return what the manifest ``digest`` says, verified."""
        try:
            return artifact.read(self.pull_manifest(repository, digest))
        except ValueError as error:
            raise Refused(f"{repository}@{digest}: {error}") from error

    def pull_document(self, repository: str, digest: str, *, media_type: str | None = None) -> bytes:
        """Return the one layer of the artifact ``digest``, verified; with ``media_type`` anything else is refused."""
        found = self.pull_artifact(repository, digest)
        if len(found.layers) != 1:
            raise Refused(f"{repository}@{digest}: {len(found.layers)} layers, a document has one")
        if media_type is not None and found.artifact_type != media_type:
            raise Refused(f"{repository}@{digest}: is {found.artifact_type!r}, expected {media_type!r}")
        layer = found.layers[0]
        if layer.size > MAX_DOCUMENT:
            raise Refused(f"{repository}@{digest}: {layer.size} bytes, a document has at most {MAX_DOCUMENT}")
        content = b"".join(self._stream(repository, f"blobs/{layer.digest}", limit=layer.size))
        _check(repository, layer.digest, digests.sha256(content))
        return content

    def download(self, repository: str, layer: Layer, target: Path) -> None:
        """Write the blob of ``layer`` to the new file ``target``. On a wrong size or digest nothing is left behind."""
        hashed = hashlib.sha256()
        try:
            with target.open("xb") as stream:
                for piece in self._stream(repository, f"blobs/{layer.digest}", limit=layer.size):
                    hashed.update(piece)
                    stream.write(piece)
            _check(repository, layer.digest, "sha256:" + hashed.hexdigest())
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    # The wire

    def _stream(self, repository: str, path: str, *, limit: int) -> Iterator[bytes]:
        """Yield a body in pieces and stop with ``DigestMismatch`` as soon as it is longer than ``limit`` bytes."""
        ends = self._end()
        answer = self._send("GET", repository, path, stream=True)
        seen = 0
        try:
            # Without a size: a piece is what came, so that the time is looked at however slowly it comes.
            for piece in answer.iter_bytes():
                seen += len(piece)
                if time.monotonic() > ends:
                    raise Unavailable(f"{self._host}/{repository}: no whole answer within {self._total:g} s")
                if seen > limit:
                    raise DigestMismatch(f"{repository}: {path} is longer than the {limit} bytes that were promised")
                yield piece
        except httpx.TransportError as error:
            raise Unavailable(f"{self._host}/{repository}: {type(error).__name__} while reading") from error
        finally:
            answer.close()

    def _send(
        self,
        method: str,
        repository: str,
        target: str | httpx.URL | Callable[[], httpx.URL],
        *,
        content: bytes | Path | None = None,
        size: int | None = None,
        media_type: str = "application/octet-stream",
        accept_missing: bool = False,
        stream: bool = False,
        tries: int | None = None,
    ) -> httpx.Response:
        """Send one request, repeated while the registry is unavailable; return its good answer.

        ``target`` is a path in the repository, an address, or makes the address of each try.
        """
        headers = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"} if method in {"GET", "HEAD"} else {}
        if content is not None:
            headers["Content-Type"] = media_type
            headers["Content-Length"] = str(size if size is not None else len(content))  # type: ignore[arg-type]
        begun, ends = time.monotonic(), self._end()
        attempt = 0
        while True:
            attempt += 1
            try:
                url = target() if callable(target) else target
                url = httpx.URL(f"{self._base}/v2/{repository}/{url}") if isinstance(url, str) else url
                return self._try(method, repository, url, headers, content, accept_missing, stream)
            except Unavailable as error:
                if isinstance(error, Untrusted) and not self._patience:
                    raise
                pause = min(0.5 * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
                patient = time.monotonic() + pause - begun < self._patience
                if attempt >= (tries or ATTEMPTS) and (tries or not patient):
                    raise
                if time.monotonic() + pause >= ends:
                    raise type(error)(f"{error.message} (within {self._total:g} s)") from error
            time.sleep(pause)

    def _try(
        self,
        method: str,
        repository: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | Path | None,
        accept_missing: bool,
        stream: bool,
    ) -> httpx.Response:
        """Send one request once and return its good answer; raise the class of any other."""
        where = f"registry {self._host}: {{}} ({method} in {repository})"
        try:
            answer = self._authorized(method, repository, url, headers, content, stream)
            if answer.status_code >= 400 and method not in {"GET", "HEAD"} and _no_room(answer):
                raise Full(where.format("no room is left on its volume, or of its quota"))
        except httpx.TransportError as error:
            if fault := certificate_fault(error, self._trust):
                raise Untrusted(where.format(fault.text), of_authority=fault.of_authority) from error
            raise Unavailable(where.format(type(error).__name__)) from error
        status = answer.status_code
        if status < 500 and status not in {405, 429}:
            return self._accept(answer, repository, accept_missing)
        answer.close()
        if status == 405:
            raise ReadOnly(where.format("takes no such request now (405), as while it is maintained"))
        raise Unavailable(where.format(f"answers {status}"))

    def _end(self) -> float:
        """Return until when a request that begins now may take, by the monotonic clock."""
        return time.monotonic() + (self._total if self._total is not None else float("inf"))

    def _authorized(
        self,
        method: str,
        repository: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | Path | None,
        stream: bool,
    ) -> httpx.Response:
        """Send with what we hold; answer one challenge."""
        credential = read_credential(self._auth_file, self._host)
        bearer = self._token_source(repository) if self._token_source else credential.bearer
        first = {**headers, "Authorization": f"Bearer {bearer}"} if bearer else dict(headers)
        answer = self._once(method, url, first, content, stream)
        # A host that the registry redirected to may not say where to take the credential.
        if answer.status_code != 401 or bearer or not self._is_own(answer.url):
            return answer
        actions = "pull" if method in {"GET", "HEAD"} else "pull,push"
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        authorization = answer_challenge(
            self._http, challenge, credential, repository, actions, tls=answer.url.scheme == "https"
        )
        if authorization is None:
            return answer
        return self._once(method, url, {**headers, "Authorization": authorization}, content, stream)

    def _is_own(self, url: httpx.URL) -> bool:
        own = httpx.URL(self._base)
        return (url.scheme, url.netloc) == (own.scheme, own.netloc)

    def _once(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | Path | None, stream: bool
    ) -> httpx.Response:
        body = _pieces(content) if isinstance(content, Path) else content
        return self._http.send(self._http.build_request(method, url, headers=headers, content=body), stream=stream)

    def _accept(self, answer: httpx.Response, repository: str, accept_missing: bool) -> httpx.Response:
        """Return a 2xx answer (or a 404 where that is an answer); raise the class of any other."""
        status = answer.status_code
        if status < 300 or (status == 404 and accept_missing):
            return answer
        answer.close()
        where = f"{self._host}/{repository}"
        if status in {401, 403}:
            raise Unauthorized(f"{where}: the registry refuses our credential ({status})")
        if status == 404:
            raise Missing(f"{where}: no such content ({answer.url.path.rsplit('/', 1)[-1]})")
        raise Refused(f"{where}: the registry refuses the request ({status})")


def _no_room(answer: httpx.Response) -> bool:
    """Tell whether an answer says that the registry has no room. RFC 4918 has a status for it, which few registries send."""
    said = answer.read()[:LARGEST_COMPLAINT].decode(errors="replace").lower()
    return answer.status_code == 507 or any(words in said for words in NO_ROOM)


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """The system's authorities and, where it exists, the site's own."""
    context = ssl.create_default_context()
    if ca_file is not None and ca_file.exists():
        context.load_verify_locations(cafile=str(ca_file))
    return context


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            yield piece


def _check(repository: str, promised: str, found: str) -> None:
    if promised != found:
        raise DigestMismatch(f"{repository}: content promised as {promised} hashes to {found}")
