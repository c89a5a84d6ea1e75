"""What people name: `pvc://claim/path` as a read-only mount of the claim and a path inside it, data at `s3://bucket/key` or
`oci://namespace/datasets/name@digest` and models at `hf://organization/name@commit` as what is downloaded before anything reads it.

The claim is mounted whole and the path is looked up inside. A `subPath` was rejected: for a path that is missing the
kubelet makes an empty folder of that name on the owner's volume.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunegate.api.pushed import SCHEME as REGISTRY_SCHEME
from tunegate.api.pushed import PushedPlace

SCHEME = "pvc://"
STORE_SCHEME = "s3://"
HUB_SCHEME = "hf://"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ClaimPath:
    """A file or folder on a PersistentVolumeClaim; ``path`` has no leading slash."""

    claim: str
    path: str

    def below(self, mount: str) -> str:
        """Return the path as a container sees it that mounts the claim at ``mount``."""
        return f"{mount}/{self.path}"


@dataclass(frozen=True)
class StorePath:
    """An object, or all objects below a key, of an S3-compatible store; ``key`` has no slash at either end."""

    bucket: str
    key: str

    def below(self, folder: str) -> str:
        """Return where the object, or the folder of objects, lies after it was downloaded into ``folder``."""
        return f"{folder}/{self.key.rpartition('/')[2]}"


@dataclass(frozen=True)
class RegistryPath:
    """What was pushed into the installation's registry."""

    place: PushedPlace
    file: str | None = None
    """Path of the only file, as recorded; None: a folder, or not known yet."""

    def below(self, folder: str) -> str:
        """Return where the file, or the folder of files, lies after it was pulled into ``folder``."""
        return f"{folder}/{self.file.rpartition('/')[2] if self.file else self.place.name}"


@dataclass(frozen=True)
class HubPath:
    """One commit of a model that a Hub mirror holds."""

    organization: str
    name: str
    commit: str

    @property
    def repository(self) -> str:
        """The model as the mirror calls it."""
        return f"{self.organization}/{self.name}"

    def below(self, folder: str) -> str:
        """Return where the model lies after it was downloaded into ``folder``."""
        return f"{folder}/{self.name}"


@dataclass(frozen=True)
class ClaimMount:
    """A claim and where a container finds it."""

    claim: str
    mount_path: str
    read_only: bool = True


def claim_path(uri: str) -> ClaimPath:
    """Read a `pvc://` address. Raises ``ValueError`` for another scheme or a path that leaves the volume."""
    if not uri.startswith(SCHEME):
        raise ValueError(f"{uri}: only addresses of the form pvc://<claim>/<path> are supported")
    claim, path = _parts(uri, SCHEME)
    if not claim or not path:
        raise ValueError(f"{uri}: claim and path are required, e.g. pvc://training-data/rows.jsonl")
    return ClaimPath(claim, path)


def data_path(uri: str) -> ClaimPath | StorePath | RegistryPath:
    """Read a `pvc://`, `s3://` or `oci://` address. Raises ``ValueError``."""
    if uri.startswith(REGISTRY_SCHEME):
        return RegistryPath(PushedPlace.of(uri))
    if not uri.startswith(STORE_SCHEME):
        return claim_path(uri)
    bucket, key = _parts(uri, STORE_SCHEME)
    if not bucket or not key:
        raise ValueError(f"{uri}: bucket and key are required, e.g. s3://training/rows.jsonl")
    return StorePath(bucket, key)


def model_path(uri: str) -> ClaimPath | HubPath:
    """Read a `pvc://` or `hf://` address. Raises ``ValueError``, also for a branch or tag, which may change."""
    if not uri.startswith(HUB_SCHEME):
        return claim_path(uri)
    organization, named = _parts(uri, HUB_SCHEME)
    name, _, commit = named.partition("@")
    if not organization or not name or "/" in named or not _COMMIT.fullmatch(commit):
        raise ValueError(
            f"{uri}: organization, name and the full commit hash are required, hf://ORG/NAME@40 hex digits"
        )
    return HubPath(organization, name, commit)


def _parts(uri: str, scheme: str) -> tuple[str, str]:
    """Return what stands before and behind the first slash, the latter without empty parts."""
    place, _, path = uri.removeprefix(scheme).partition("/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{uri}: the path may not contain '..'")
    return place, "/".join(parts)
