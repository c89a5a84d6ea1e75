"""An S3 bucket with Object Lock as an anchor: in compliance mode nobody, not even the store's owner, takes a checkpoint away.

A delete marker or a newer version can still hide one, so reading looks at all versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from certifi import where
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import MinioException, S3Error
from minio.retention import Retention
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from tunegate.api.stages import STORE_REQUIRED
from tunegate.errors import Terminal, Transient
from tunegate.ledger.anchored import Anchor
from tunegate.ledger.anchors import PREFIX, SUFFIX, Checkpoint

REGION = "us-east-1"
"""What stores without regions expect in a signature."""
CONNECT_SECONDS, READ_SECONDS = 5, 20
NEWEST = 20
"""Checkpoints that are read back: so many of the newest, and so many of the largest."""


@dataclass(frozen=True)
class Version:
    """One version of an object."""

    key: str
    id: str | None
    modified: datetime


class BucketAnchor:
    """Puts every checkpoint under the prefix, locked. Credentials are read at every look: a rotated one acts at once."""

    name = "bucket"
    takes_tokens = True

    def __init__(
        self,
        bucket: str,
        prefix: str,
        credentials: Path,
        retention: timedelta,
        *,
        ca_file: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``credentials``: folder of a mounted Secret with `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`
        and, where the store has regions or authorities of its own, `AWS_REGION` and `ca.crt`.
        """
        self._bucket = bucket
        self._prefix = prefix
        self._credentials = credentials
        self._retention = retention
        self._ca_file = ca_file
        self._clock = clock

    async def keep(self, checkpoint: Checkpoint) -> None:
        await asyncio.to_thread(self._keep, checkpoint)

    async def read(self) -> list[Anchor]:
        """Return the newest checkpoints and the largest, of all versions."""
        return await asyncio.to_thread(self._read)

    def _keep(self, checkpoint: Checkpoint) -> None:
        with self._client() as client:
            self._put(client, checkpoint.name, checkpoint.text.encode())
            if checkpoint.token is not None:
                self._put(client, checkpoint.stamp_name, checkpoint.token)

    def _put(self, client: Minio, name: str, content: bytes) -> None:
        key = self._prefix + name
        if not self._locked(client, key):
            retention = Retention(COMPLIANCE, self._clock() + self._retention)
            client.put_object(self._bucket, key, BytesIO(content), len(content), retention=retention)
        if not self._locked(client, key):
            raise Terminal(
                "AnchorNotLocked",
                f"{key} lies in bucket {self._bucket} without a lock in compliance mode: make the bucket with Object Lock "
                "enabled, and allow s3:PutObjectRetention and s3:GetObjectRetention",
            )

    def _locked(self, client: Minio, key: str) -> bool:
        """Tell whether an object is there, and locked."""
        try:
            held = client.stat_object(self._bucket, key).metadata or {}
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise
        until = held.get("x-amz-object-lock-retain-until-date")
        return held.get("x-amz-object-lock-mode") == COMPLIANCE and until is not None and _time(until) > self._clock()

    def _read(self) -> list[Anchor]:
        with self._client() as client:
            newest = _newest(list(self._versions(client)))
            return [Anchor(f"s3://{self._bucket}/{one.key}", self._text(client, one)) for one in newest]

    def _versions(self, client: Minio) -> Iterator[Version]:
        prefix = self._prefix + PREFIX
        for one in client.list_objects(self._bucket, prefix, recursive=True, include_version=True):
            if not one.is_delete_marker and str(one.object_name).endswith(SUFFIX) and one.last_modified is not None:
                yield Version(str(one.object_name), one.version_id, one.last_modified)

    def _text(self, client: Minio, one: Version) -> str:
        with closing(client.get_object(self._bucket, one.key, version_id=one.id)) as found:
            content = bytes(found.read())
        try:
            return content.decode().rstrip("\n")
        except UnicodeDecodeError as error:
            raise Transient(f"s3://{self._bucket}/{one.key} is no text: it was changed") from error

    @contextmanager
    def _client(self) -> Iterator[Minio]:
        """Give a client and translate what goes wrong. The store's own message is left out: some repeat the request."""
        try:
            own = self._credentials / "ca.crt"
            authorities = own if own.exists() else self._ca_file
            yield _connect(*self._settings(), str(authorities) if authorities is not None else None)
        except S3Error as error:
            raise Transient(f"bucket {self._bucket}: the store answers {str(error.code)[:60]}") from error
        except (MinioException, HTTPError, ValueError, OSError) as error:
            raise Transient(f"bucket {self._bucket}: {type(error).__name__}") from error

    def _settings(self) -> tuple[str, str, str, str]:
        found = {file.name: file.read_text().strip() for file in self._credentials.glob("AWS_*")}
        missing = [name for name in STORE_REQUIRED if not found.get(name)]
        if missing:
            raise Terminal("BadSettings", f"the Secret of bucket {self._bucket} lacks {', '.join(missing)}")
        endpoint, key_id, key = (found[name] for name in STORE_REQUIRED)
        return endpoint, key_id, key, found.get("AWS_REGION") or REGION


def _newest(found: list[Version]) -> list[Version]:
    by_time = sorted(found, key=lambda one: one.modified)[-NEWEST:]
    by_size = sorted(found, key=lambda one: one.key)[-NEWEST:]
    return list(dict.fromkeys([*by_time, *by_size]))


@lru_cache(maxsize=2)
def _connect(endpoint: str, key_id: str, key: str, region: str, ca_file: str | None) -> Minio:
    """Return a client, the same for the same credentials, so that connections are used again."""
    address = urlsplit(endpoint)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ValueError("AWS_ENDPOINT_URL")
    http = PoolManager(timeout=Timeout(CONNECT_SECONDS, READ_SECONDS), retries=Retry(1), ca_certs=ca_file or where())
    secure = address.scheme == "https"
    return Minio(address.netloc, key_id, key, secure=secure, region=region, http_client=http)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
