"""Checks that the mounted base model is the one of the catalogue, without reading its weights again.

The content was hashed once, when the model was admitted. Here the list of files is authenticated by its digest, and the
folder is compared with the list by name and size: a weights file more, less or of another length is found at once.
"""

from __future__ import annotations

from pathlib import Path

from tunegate.api.serving import ServedBase
from tunegate.digests import manifest_digest

ENGINE_READS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".jinja", ".model", ".py"})
"""Endings of files that an engine may pick up by itself: none may lie in the folder that the catalogue does not know."""
VOCABULARIES = frozenset({"merges.txt", "vocab.txt"})


def difference(base: ServedBase) -> str | None:
    """Return how the folder ``base.path`` differs from the catalogue's manifest, or None when it does not."""
    if manifest_digest(base.manifest) != base.manifest_digest:
        return f"the file list of base model {base.name} does not have the digest {base.manifest_digest}"
    root = Path(base.path)
    listed = {entry.path: entry.size for entry in base.manifest.files}
    for path, size in sorted(listed.items()):
        file = root / path
        if not file.is_file():
            return f"base model {base.name}: {path} is missing"
        if file.stat().st_size != size:
            return f"base model {base.name}: {path} has {file.stat().st_size} bytes, the catalogue says {size}"
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and name not in listed and (file.suffix in ENGINE_READS or file.name in VOCABULARIES):
            return f"base model {base.name}: {name} is not in the catalogue's file list"
    return None
