"""An image of the node's registry as an OCI layout: the registry's own files under the names that buildah reads.

What is pushed elsewhere is taken from there: layers stay compressed as they are, so gigabytes are not compressed again, and the
image has the same digest in both registries.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tunegate_local import image_registry
from tunegate_local.failure import Failure


def write(layout: Path, reference: str) -> None:
    """Link the blobs of ``host/repository@digest`` into the new directory ``layout``. Nothing is copied."""
    digest = reference.rpartition("@")[2]
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest: dict[str, Any] = json.loads(_blob(digest).read_bytes())
    for name in {digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}:
        os.link(_blob(name), blobs / name.removeprefix("sha256:"))
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    entry = {"mediaType": manifest["mediaType"], "digest": digest, "size": _blob(digest).stat().st_size}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def _blob(digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    file = image_registry.STORAGE / "docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"
    if not file.is_file():
        raise Failure("images", f"the node's registry has lost {digest}", "run `images` again without --registry first")
    return file
