"""The documents that a container finds in its mounted ConfigMap, compared with the digest in the container's own arguments.

A pod's template is protected and a ConfigMap is only a name in it: whoever makes or replaces one decides what a pod reads. So
the template names the digest of what the pod was made for, and nothing is believed, not even parsed, before it agrees.
"""

from __future__ import annotations

from pathlib import Path

from tunegate.digests import document_digest


class ConfigurationDiffers(Exception):
    """The mounted documents are not those that the pod was made with."""


def read_documents(folder: Path, promised: str) -> dict[str, str]:
    """Return the documents of a mounted ConfigMap by name. Raises ``ConfigurationDiffers``, or ``OSError``.

    ``promised``: the digest of all of them together, as the operator calculates it of a ConfigMap's data.
    """
    # The kubelet keeps the files in a hidden folder, to which the names are links.
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    try:
        found = {path.name: path.read_bytes().decode() for path in files}
    except UnicodeDecodeError as error:
        raise ConfigurationDiffers(f"{folder}: a document is not UTF-8: somebody replaced the ConfigMap") from error
    digest = document_digest(found)
    if digest != promised:
        raise ConfigurationDiffers(
            f"{folder}: the documents {', '.join(found)} have digest {digest}, this pod was made for {promised}: somebody "
            "replaced the ConfigMap"
        )
    return found
