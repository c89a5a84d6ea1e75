"""Adapters as OCI artifacts: packed from an allowlist of files, unpacked only when every byte is the promised one."""

from __future__ import annotations

import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tunegate import digests
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.stage.layout import ADAPTER_MEDIA_TYPE
from tunegate.registry.artifact import Layer
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import DigestMismatch, Refused

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}\.(safetensors|json)")
"""Formats that hold numbers and text only. Pickles (`.bin`, `.pt`) and code run when they are read: never."""
MEDIA_TYPES = {"safetensors": "application/vnd.safetensors", "json": "application/json"}
MAX_FILES = 16


@dataclass(frozen=True)
class SealedAdapter:
    """Where an adapter lies and what it is: the OCI digest finds it, the manifest names its content."""

    digest: str
    manifest: Manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of ``folder``: flat, regular files of the allowlist only, sorted by name.

    Raises ``Refused`` for a link, a subfolder or any other file.
    """
    entries: list[FileEntry] = []
    for path in sorted(folder.iterdir()):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Refused(f"{path.name}: only regular files belong to an adapter")
        if not FILE_NAME.fullmatch(path.name):
            raise Refused(f"{path.name[:80]}: only .safetensors and .json files belong to an adapter")
        entries.append(digests.file_entry(folder, path))
    return Manifest(files=entries)


def verify(folder: Path, manifest: Manifest) -> None:
    """Read ``folder`` again and compare names, sizes and SHA-256 with ``manifest``.

    Raises ``DigestMismatch`` naming the file that differs, ``Refused`` for a file that no adapter may have.
    """
    promised = {entry.path: entry for entry in manifest.files}
    found = {entry.path: entry for entry in read_manifest(folder).files}
    if promised.keys() != found.keys():
        names = ", ".join(sorted(promised.keys() ^ found.keys()))
        raise DigestMismatch(f"adapter: files differ from the manifest: {names}")
    for name, entry in promised.items():
        if found[name] != entry:
            raise DigestMismatch(f"adapter: {name} has other bytes than the manifest promises")


def push_adapter(client: RegistryClient, repository: str, folder: Path) -> SealedAdapter:
    """Store ``folder`` as one artifact, a layer for each file. Equal folders have equal digests."""
    manifest = read_manifest(folder)
    _check_names(manifest)
    layers = []
    for entry in manifest.files:
        media_type = MEDIA_TYPES[entry.path.rsplit(".", 1)[1]]
        layer = client.push_blob(repository, folder / entry.path, media_type, title=entry.path)
        if layer.digest != f"sha256:{entry.sha256}":
            raise DigestMismatch(f"adapter: {entry.path} changed while it was sealed")
        layers.append(layer)
    return SealedAdapter(client.push_artifact(repository, ADAPTER_MEDIA_TYPE, layers), manifest)


def pull_adapter(client: RegistryClient, repository: str, digest: str, manifest: Manifest, target: Path) -> None:
    """Put the adapter into ``target`` (new or empty), after every byte was verified in a folder beside its files.

    The manifest comes from the caller, not from the registry. Raises ``DigestMismatch`` or ``Refused``; then
    ``target`` holds nothing.
    """
    _check_names(manifest)
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise Refused(f"{target}: not empty, an adapter is never mixed with other files")
    artifact = client.pull_artifact(repository, digest)
    if artifact.artifact_type != ADAPTER_MEDIA_TYPE:
        raise Refused(f"{repository}@{digest}: is {artifact.artifact_type!r}, not an adapter")
    promised = [(entry.path, f"sha256:{entry.sha256}", entry.size) for entry in manifest.files]
    offered = [(layer.title, layer.digest, layer.size) for layer in artifact.layers]
    if sorted(promised) != sorted(offered):
        raise DigestMismatch(f"{repository}@{digest}: its files are not those of the manifest")
    staging = Path(tempfile.mkdtemp(prefix=".pull-", dir=target))
    try:
        _download(client, repository, artifact.layers, staging)
        verify(staging, manifest)
        for path in staging.iterdir():
            path.chmod(0o444)
            path.replace(target / path.name)
    finally:
        shutil.rmtree(staging)


def _download(client: RegistryClient, repository: str, layers: tuple[Layer, ...], folder: Path) -> None:
    for layer in layers:
        client.download(repository, layer, folder / layer.title)


def _check_names(manifest: Manifest) -> None:
    names = [entry.path for entry in manifest.files]
    bad = [name for name in names if not FILE_NAME.fullmatch(name)]
    if bad or len(set(names)) != len(names) or not 1 <= len(names) <= MAX_FILES:
        raise Refused(f"adapter manifest: 1 to {MAX_FILES} distinct .safetensors and .json names are allowed")
