"""The few requests of S3 that an anchor needs, signed by AWS's own library, which works with any store of that protocol."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import httpx
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest

from tunegate.answers import Answer, request_bounded
from tunegate.deadlines import STORE_REQUEST_SECONDS
from tunegate.errors import Transient
from tunegate.store_access import StoreAccess

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer: a page of a listing has a few hundred thousand."""


@dataclass(frozen=True)
class Version:
    """One version of an object."""

    key: str
    id: str
    modified: datetime


class Bucket:
    """One bucket. Every method raises ``Transient``, without what the store says: some repeat the request."""

    def __init__(self, name: str, access: StoreAccess, ca_file: Path | None) -> None:
        self._name = name
        self._base, self._host, self._region = access.base, access.host, access.region
        self._credentials = AwsCredentialsProvider.new_static(access.key_id, access.key, access.token)
        tls = ssl.create_default_context()
        if ca_file is not None:
            tls.load_verify_locations(ca_file)
        self._http = httpx.Client(verify=tls, timeout=STORE_REQUEST_SECONDS, trust_env=False)

    def ask(
        self, method: str, key: str, query: Mapping[str, str] | None = None, *, content: bytes = b"",
        headers: Mapping[str, str] | None = None, missing: bool = False,
    ) -> Answer:  # fmt: skip
        """Send one request about an object, or the bucket itself where ``key`` is empty; ``missing``: 404 is an answer."""
        path = f"/{self._name}/{quote(key)}" if key else f"/{self._name}"
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        try:
            signed = self._signed(method, target, content, headers or {})
            answer = request_bounded(
                self._http, method, self._base + target, seconds=STORE_REQUEST_SECONDS, largest=LARGEST, content=content,
                headers=signed,
            )  # fmt: skip
        except (httpx.HTTPError, TimeoutError) as error:
            raise Transient(f"bucket {self._name}: {self._base} does not answer: {type(error).__name__}") from error
        if 200 <= answer.status_code < 300 or (missing and answer.status_code == 404):
            return answer
        raise Transient(f"bucket {self._name}: the store answers {answer.status_code} {_code(answer)}".rstrip())

    def put(self, key: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Store an object."""
        self.ask("PUT", key, content=content, headers=headers)

    def head(self, key: str) -> httpx.Headers | None:
        """Return what the store says of an object, None where there is none."""
        answer = self.ask("HEAD", key, missing=True)
        return None if answer.status_code == 404 else answer.headers

    def get(self, version: Version) -> bytes:
        """Return the content of one version."""
        return self.ask("GET", version.key, {"versionId": version.id}).content

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield all versions of all objects, also of those that are hidden by a delete marker."""
        marker: dict[str, str] = {}
        while True:
            page = _page(self.ask("GET", "", {"versions": "", "prefix": prefix, **marker}).content)
            for one in page.iterfind("Version"):
                yield self._version({part.tag: part.text or "" for part in one})
            if page.findtext("IsTruncated") != "true":
                return
            marker = {
                "key-marker": page.findtext("NextKeyMarker") or "",
                "version-id-marker": page.findtext("NextVersionIdMarker") or "",
            }

    def _version(self, text: Mapping[str, str]) -> Version:
        try:
            return Version(text["Key"], text["VersionId"], datetime.fromisoformat(text["LastModified"]))
        except (KeyError, ValueError) as error:
            raise Transient(f"bucket {self._name}: the store's listing is of another form") from error

    def _signed(self, method: str, target: str, content: bytes, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        request = HttpRequest(method, target, HttpHeaders([("host", self._host), *headers.items()]))
        config = AwsSigningConfig(
            algorithm=AwsSigningAlgorithm.V4, signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=self._credentials, region=self._region, service="s3",
            use_double_uri_encode=False, should_normalize_uri_path=False,
            signed_body_value=sha256(content).hexdigest(),
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )  # fmt: skip
        return list(aws_sign_request(request, config).result(STORE_REQUEST_SECONDS).headers)


def _page(content: bytes) -> ElementTree.Element:
    """Read a listing without its namespace, which some stores leave out. Raises ``Transient``."""
    try:
        if len(content) > LARGEST or b"<!DOCTYPE" in content:
            raise Transient("the store's listing is too large, or of another form")
        page = ElementTree.fromstring(content)  # noqa: S314 -- without a document type nothing in it can expand.
    except ElementTree.ParseError as error:
        raise Transient("the store's listing is not XML") from error
    for part in page.iter():
        part.tag = part.tag.rpartition("}")[2]
    return page


def _code(answer: Answer) -> str:
    """Return the word for what is wrong, such as AccessDenied, and nothing else of the answer."""
    try:
        return (_page(answer.content).findtext("Code") or "")[:60]
    except Transient:
        return ""
