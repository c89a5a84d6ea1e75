"""What the operator writes for a gateway, and the names that its tests know."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunegate.api.manifest import HashedFolder, Manifest
from tunegate.api.serving import TOKEN_AUDIENCE, AdapterEntry, AdaptersDocument, OpenRoute, OpenTarget, RoutesDocument
from tunegate.api.stage.probe import Probe, ProbeItem
from tunegate.base_files import hash_folder
from tunegate.digests import manifest_digest

GOOD, DEAD, FLIPPED = "good-00000001", "dead-00000002", "flipped-00000003"
KEY, OTHER_KEY = "correct-horse-battery-staple", "incorrect-horse-battery-staple"
DIES, EXPLODES = 666, 667
"""Seeds at which the engine fails, or refuses."""
SERVER_UID = "0c0ffee0-server"
SECRET, CREDENTIAL = "tunegate-registry-server", '{"auths": {}}'


def token(name: str, audience: str = TOKEN_AUDIENCE) -> str:
    """Return what has the form of a Kubernetes token; the stand-in of the API server knows only ``KNOWN_TOKEN``."""
    claims = json.dumps({"aud": [audience], "sub": name}).encode()
    return f"header.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


KNOWN_TOKEN = token("known")


def probe() -> Probe:
    items = [
        ProbeItem(messages=[{"role": "user", "content": str(n)}], answer="a", tuned_logprob=-0.2, base_logprob=-2.0)
        for n in range(8)
    ]
    return Probe(items=items, tolerance=0.1)


def base(folder: Path) -> HashedFolder:
    """A base model of one file, as `check-base` hashed it."""
    root = folder / "base-model"
    root.mkdir(exist_ok=True)
    (root / "model.safetensors").write_bytes(b"weights")
    return hash_folder(root, [root / "model.safetensors"])


def adapter(name: str, **changes: Any) -> AdapterEntry:
    """Return what the operator lists of an adapter."""
    digest = f"sha256:{name[-8:]}{'0' * 56}"
    manifest = Manifest(files=[])
    entry = AdapterEntry(
        release=name[:-9], served_name=name, repository=f"team/{name}/adapter", digest=digest, manifest=manifest,
        manifest_digest=manifest_digest(manifest), results_repository=f"team/{name}/results", evaluation_digest=digest,
    )  # fmt: skip
    return entry.model_copy(update=changes)


def adapters(*names: str, **changes: Any) -> AdaptersDocument:
    """Return the operator's list."""
    return AdaptersDocument(adapters=[adapter(name, **changes) for name in names])


def to(*served_names: str, weights: Sequence[int] = (100,)) -> OpenRoute:
    """Return a route to adapters with their weights."""
    targets = [
        OpenTarget(served_name=name, release=name.rpartition("-")[0], weight=weight)
        for name, weight in zip(served_names, weights, strict=True)
    ]
    return OpenRoute(targets=targets)


def routes(**changes: Any) -> RoutesDocument:
    document = RoutesDocument(
        revision=1, routes={"extract": to(GOOD), "worthless": to(DEAD)}, names=["extract", "future", "worthless"],
        approved=[GOOD, DEAD, FLIPPED],
    )  # fmt: skip
    return document.model_copy(update=changes)
