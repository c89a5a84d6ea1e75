"""kubectl, helm and uv as the tests use them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CACHE = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache" / "tunegate")))


def program(name: str) -> str:
    """Return the path of kubectl, helm or uv: the local cluster's own, else the machine's."""
    own = CACHE / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"no {name}: start the local cluster once (`make cluster-up`), which fetches it"
    return found
