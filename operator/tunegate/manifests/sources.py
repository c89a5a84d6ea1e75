"""Volumes that people name: `pvc://claim/path` as a read-only mount of the claim and a path inside it.

The claim is mounted whole and the path is looked up inside. A `subPath` was rejected: for a path that is missing the
kubelet makes an empty folder of that name on the owner's volume.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEME = "pvc://"


@dataclass(frozen=True)
class ClaimPath:
    """A file or folder on a PersistentVolumeClaim; ``path`` has no leading slash."""

    claim: str
    path: str

    def below(self, mount: str) -> str:
        """Return the path as a container sees it that mounts the claim at ``mount``."""
        return f"{mount}/{self.path}"


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
    claim, _, path = uri.removeprefix(SCHEME).partition("/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{uri}: the path may not contain '..'")
    if not claim or not parts:
        raise ValueError(f"{uri}: claim and path are required, e.g. pvc://training-data/rows.jsonl")
    return ClaimPath(claim, "/".join(parts))
