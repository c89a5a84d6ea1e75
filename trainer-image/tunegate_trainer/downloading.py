"""Download stage: copy an input from an S3-compatible store into the pod's folder, before anything reads it.

pyarrow's client is used since pyarrow reads the data anyway. What the store says of an error is not passed on but for its
code: some stores repeat parts of the request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tunegate.api.stage.configs import DownloadConfig
from tunegate.logs import event
from tunegate.store_access import StoreAccess, read_store_access
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput, Unavailable
from tunegate_trainer.full_storage import NO_ROOM

log = logging.getLogger(__name__)

PIECE = 16 * 1024 * 1024
"""Bytes of one request."""
ATTEMPTS = 5
"""Of one request, with growing pauses, before the stage gives up for this time."""
CONNECT_SECONDS = 10.0
_CODE = re.compile(r"Unable to parse ExceptionName: (\w{1,60})|AWS Error (\w{1,60})")
_STATUS = re.compile(r"HTTP status (\d{3})")
DENIED = frozenset(
    {"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT_TOKEN_ID", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN"}
)


@dataclass(frozen=True)
class Object:
    """One object: its name in the store, where it will lie, and its bytes."""

    name: str
    target: Path
    size: int


def run(config: DownloadConfig, context: StageContext) -> None:
    """Copy what lies at the key to ``config.path``. Raises ``BadInput`` and, where trying again can help, ``Unavailable``."""
    what, store = f"s3://{config.bucket}/{config.key}", context.places.store
    context.progress.show(0, "looking at the store")
    with _understood(what):
        filesystem = _connect(_access(store), context.places.run, (context.places.ca, store / "ca.crt"))
        objects = _find(filesystem, config, what)
        total = sum(found.size for found in objects)
        if total > config.max_bytes:
            raise BadInput(f"{what} has {total} bytes, at most {config.max_bytes} are read: {config.too_large}")
        done = 0
        for found in objects:
            for count in _copy(filesystem, found, what):
                done += count
                context.progress.show(100 * done / max(1, total), f"downloading {len(objects)} objects")
    log.info("downloaded", extra=event("DataDownloaded", objects=len(objects), bytes=total))


def _access(store: Path) -> StoreAccess:
    try:
        return read_store_access(store)
    except ValueError as error:
        raise Unavailable(f"the Secret of the store {error}") from error


def _connect(access: StoreAccess, scratch: Path, authorities: tuple[Path, ...]) -> Any:
    from pyarrow import fs

    return fs.S3FileSystem(
        access_key=access.key_id,
        secret_key=access.key,
        session_token=access.token,
        region=access.region,
        scheme=access.scheme,
        endpoint_override=access.host,
        connect_timeout=CONNECT_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        tls_ca_file_path=str(_trusted(scratch / "authorities.pem", authorities)),
    )


def _trusted(bundle: Path, further: tuple[Path, ...]) -> Path:
    """Write the usual authorities and those of the site into one file, which is all that the client can take."""
    import certifi

    parts = [Path(certifi.where()), *(file for file in further if file.is_file())]
    bundle.write_bytes(b"\n".join(part.read_bytes() for part in parts))
    return bundle


def _find(filesystem: Any, config: DownloadConfig, what: str) -> list[Object]:
    from pyarrow import fs

    path, root = f"{config.bucket}/{config.key}", Path(config.path)
    kind = filesystem.get_file_info(path)
    if kind.type == fs.FileType.File:
        return [Object(path, root, kind.size)]
    listed = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    files = [entry for entry in listed if entry.type == fs.FileType.File]
    if not files:
        raise BadInput(f"{what}: neither an object nor a folder with objects in it")
    return [_object(entry, path, root, what) for entry in sorted(files, key=lambda entry: entry.path)]


def _object(entry: Any, path: str, root: Path, what: str) -> Object:
    name = entry.path.removeprefix(f"{path}/")
    if PurePosixPath(name).is_absolute() or {"", ".", ".."} & set(name.split("/")):
        raise BadInput(f"{what}: an object's name has empty parts or '..' and cannot be a file's name")
    return Object(entry.path, root / name, entry.size)


def _copy(filesystem: Any, found: Object, what: str) -> Iterator[int]:
    """Copy one object and yield the bytes of each piece. Raises ``Unavailable`` for another number of bytes than was listed."""
    found.target.parent.mkdir(parents=True, exist_ok=True)
    copied = 0
    # No compression: by default a .gz would be unpacked on the way.
    with filesystem.open_input_stream(found.name, compression=None) as source, found.target.open("wb") as target:
        while piece := source.read(PIECE):
            target.write(piece)
            copied += len(piece)
            yield len(piece)
    if copied != found.size:
        raise Unavailable(
            f"{what}: an object changed or ended early while it was read ({copied} of {found.size} bytes)"
        )


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Turn the client's errors into ends of the stage."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Unavailable(f"{what}: the node's disk has no room for the data") from error
        codes, statuses = _CODE.findall(str(error)), _STATUS.findall(str(error))
        said = ", HTTP status ".join([*("".join(code) for code in codes[-1:]), *statuses[:1]]) or type(error).__name__
        if said.partition(",")[0] in DENIED or "403" in statuses:
            message = f"{what}: the store refuses the Secret's access key ({said}): put the Secret or the bucket's rights right"
            raise Unavailable(message) from error
        raise Unavailable(f"{what}: the store cannot be read ({said})") from error
