"""Checks that the mounted base model is the one of the catalogue: every byte of it, at every start of a pod.

The list of files is authenticated by its digest. Sizes alone would let other weights of the same architecture pass, and the
engine reads the same volume again afterwards: see ``tunegate.base_files``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tunegate.api.manifest import HashedFolder
from tunegate.api.serving import ServedBase
from tunegate.base_files import ChangedMeanwhile, differing, hash_folder
from tunegate.digests import manifest_digest

ENGINE_READS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".jinja", ".model", ".py"})
"""Endings of files that an engine may pick up by itself: none may lie in the folder that the catalogue does not know."""
VOCABULARIES = frozenset({"merges.txt", "vocab.txt"})


class Differs(Exception):
    """The folder is not the base model of the catalogue; the message says how."""


def checked(base: ServedBase, show: Callable[[int, int], None] = lambda done, total: None) -> HashedFolder:
    """Return the folder ``base.path`` as it was hashed. Raises ``Differs``. ``show`` is told bytes hashed and in all."""
    if manifest_digest(base.manifest) != base.manifest_digest:
        raise Differs(f"the file list of base model {base.name} does not have the digest {base.manifest_digest}")
    root = Path(base.path)
    listed = {entry.path for entry in base.manifest.files}
    missing = sorted(path for path in listed if not (root / path).is_file())
    if missing:
        raise Differs(f"base model {base.name}: {missing[0]} is missing")
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and name not in listed and (file.suffix in ENGINE_READS or file.name in VOCABULARIES):
            raise Differs(f"base model {base.name}: {name} is not in the catalogue's file list")
    try:
        found = hash_folder(root, [root / path for path in sorted(listed)], show=show)
    except ChangedMeanwhile as error:
        raise Differs(f"base model {base.name}: {error}") from error
    if (problem := differing(found, base.manifest)) is not None:
        raise Differs(f"base model {base.name}: {problem}")
    return found
