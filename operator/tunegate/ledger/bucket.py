"""An S3 bucket with Object Lock as an anchor: in compliance mode nobody, not even the store's owner, takes a checkpoint away.

A delete marker or a newer version can still hide one, so reading looks at all versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunegate.api.stages import STORE_REQUIRED
from tunegate.errors import Terminal, Transient
from tunegate.ledger.anchored import Anchor
from tunegate.ledger.anchors import PREFIX, SUFFIX, Checkpoint

REGION = "us-east-1"
"""What stores without regions expect in a signature."""
CONNECT_SECONDS, READ_SECONDS = 5, 20
NEWEST = 20
"""Checkpoints that are read back: so many of the newest, and so many of the largest."""
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True)
class Version:
    """One version of an object."""

    key: str
    id: str
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

    def _put(self, client: Any, name: str, content: bytes) -> None:
        key = self._prefix + name
        if self._locked(client, key) is None:
            until = self._clock() + self._retention
            client.put_object(
                Bucket=self._bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256",
                ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until,
            )  # fmt: skip
        if not self._locked(client, key):
            raise Terminal(
                "AnchorNotLocked",
                f"{key} lies in bucket {self._bucket} without a lock in compliance mode: make the bucket with Object Lock "
                "enabled, and allow s3:PutObjectRetention and s3:GetObjectRetention",
            )

    def _locked(self, client: Any, key: str) -> bool | None:
        """Tell whether an object is locked; None when it is not there."""
        from botocore.exceptions import ClientError

        try:
            found = client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if _code(error) in ABSENT:
                return None
            raise
        until = found.get("ObjectLockRetainUntilDate")
        return found.get("ObjectLockMode") == "COMPLIANCE" and until is not None and until > self._clock()

    def _read(self) -> list[Anchor]:
        with self._client() as client:
            newest = _newest(list(self._versions(client)))
            return [Anchor(f"s3://{self._bucket}/{one.key}", self._text(client, one)) for one in newest]

    def _versions(self, client: Any) -> Iterator[Version]:
        pages = client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix + PREFIX)
        for page in pages:
            for one in page.get("Versions") or ():
                if one["Key"].endswith(SUFFIX):
                    yield Version(one["Key"], one.get("VersionId") or "null", one["LastModified"])

    def _text(self, client: Any, one: Version) -> str:
        found = client.get_object(Bucket=self._bucket, Key=one.key, VersionId=one.id)
        try:
            return str(found["Body"].read().decode()).rstrip("\n")
        except UnicodeDecodeError as error:
            raise Transient(f"s3://{self._bucket}/{one.key} is no text: it was changed") from error

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Give a client and translate what goes wrong. The store's own message is left out: some repeat the request."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            own = self._credentials / "ca.crt"
            authorities = own if own.exists() else self._ca_file
            yield _connect(*self._settings(), str(authorities) if authorities is not None else None)
        except ClientError as error:
            raise Transient(f"bucket {self._bucket}: the store answers {_code(error)}") from error
        except (BotoCoreError, ValueError, OSError) as error:
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
def _connect(endpoint: str, key_id: str, key: str, region: str, ca_file: str | None) -> Any:
    """Return a client, the same for the same credentials: making one reads megabytes."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 2},
        s3={"addressing_style": "path"},
    )  # fmt: skip
    session = boto3.session.Session(aws_access_key_id=key_id, aws_secret_access_key=key, region_name=region)
    return session.client("s3", endpoint_url=endpoint, config=config, verify=ca_file)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "an error"))[:60]
