"""An S3 bucket with Object Lock as an anchor: in compliance mode nobody, not even the store's owner, takes a checkpoint away.

A delete marker or a newer version can still hide one, so reading looks at all versions.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from tunegate.api.conditions import rfc3339
from tunegate.deadlines import ANCHOR_SECONDS, ANCHORS_SECONDS, Threads
from tunegate.errors import Terminal, Transient
from tunegate.ledger.anchors.places import PREFIX, SUFFIX, Checkpoint
from tunegate.ledger.anchors.s3 import Bucket, Version
from tunegate.ledger.comparison import Anchor
from tunegate.store_access import read_store_access

MODE, UNTIL, COMPLIANCE = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "COMPLIANCE"
NEWEST = 20
"""Checkpoints that are read back: so many of the newest, and so many of the largest."""


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
        self._threads = Threads(f"bucket {bucket}", 2)

    async def keep(self, checkpoint: Checkpoint) -> None:
        await self._threads.call(ANCHOR_SECONDS, self._keep, checkpoint)

    async def read(self) -> list[Anchor]:
        """Return the newest checkpoints and the largest, of all versions."""
        return await self._threads.call(ANCHORS_SECONDS, self._read)

    def _keep(self, checkpoint: Checkpoint) -> None:
        bucket = self._connected()
        self._put(bucket, checkpoint.name, checkpoint.text.encode())
        if checkpoint.token is not None:
            self._put(bucket, checkpoint.stamp_name, checkpoint.token)

    def _put(self, bucket: Bucket, name: str, content: bytes) -> None:
        key = self._prefix + name
        if not self._locked(bucket, key):
            until = rfc3339(self._clock() + self._retention)
            digest = b64encode(sha256(content).digest()).decode()
            bucket.put(key, content, {MODE: COMPLIANCE, UNTIL: until, "x-amz-checksum-sha256": digest})
        if not self._locked(bucket, key):
            raise Terminal(
                "AnchorNotLocked",
                f"{key} lies in bucket {self._bucket} without a lock in compliance mode: make the bucket with Object Lock "
                "enabled, and allow s3:PutObjectRetention and s3:GetObjectRetention",
            )

    def _locked(self, bucket: Bucket, key: str) -> bool:
        """Tell whether an object is there, and locked."""
        held = bucket.head(key)
        if held is None or held.get(MODE) != COMPLIANCE:
            return False
        try:
            return datetime.fromisoformat(held[UNTIL]) > self._clock()
        except (KeyError, ValueError) as error:
            raise Transient(f"s3://{self._bucket}/{key}: the store does not say until when it is locked") from error

    def _read(self) -> list[Anchor]:
        bucket = self._connected()
        found = [one for one in bucket.versions(self._prefix + PREFIX) if one.key.endswith(SUFFIX)]
        return [Anchor(f"s3://{self._bucket}/{one.key}", self._text(bucket, one)) for one in _newest(found)]

    def _text(self, bucket: Bucket, one: Version) -> str:
        try:
            return bucket.get(one).decode().rstrip("\n")
        except UnicodeDecodeError as error:
            raise Transient(f"s3://{self._bucket}/{one.key} is no text: it was changed") from error

    def _connected(self) -> Bucket:
        own = self._credentials / "ca.crt"
        try:
            access = read_store_access(self._credentials)
            return _connect(self._bucket, access, own if own.exists() else self._ca_file)
        except OSError as error:
            raise Transient(f"bucket {self._bucket}: {error.filename}: {error.strerror}") from error
        except ValueError as error:
            raise Terminal("BadSettings", f"the Secret of bucket {self._bucket} {error}") from error


def _newest(found: list[Version]) -> list[Version]:
    by_time = sorted(found, key=lambda one: one.modified)[-NEWEST:]
    by_size = sorted(found, key=lambda one: one.key)[-NEWEST:]
    return list(dict.fromkeys([*by_time, *by_size]))


_connect = lru_cache(maxsize=2)(Bucket)
"""The same client for the same credentials, so that connections are used again."""
