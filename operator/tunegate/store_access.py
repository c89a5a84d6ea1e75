"""The Secret that opens an S3-compatible store, as a pod has it mounted: one reading for data sets and for anchors.

The requests differ: stages read rows with pyarrow, which they have anyway, and anchors need object locks, which it cannot set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tunegate.api.stage.layout import STORE_REQUIRED
from tunegate.secret_values import read_value

DEFAULT_REGION = "us-east-1"
"""What stores without regions expect in a signature. Always given: clients would ask the cloud's metadata service."""


@dataclass(frozen=True)
class StoreAccess:
    """Where a store is and what opens it."""

    scheme: str
    host: str
    """With its port, where the Secret names one."""
    key_id: str
    key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Of a session, for keys that are valid for a time."""
    region: str = DEFAULT_REGION

    @property
    def base(self) -> str:
        """The address of the store."""
        return f"{self.scheme}://{self.host}"


def read_store_access(folder: Path) -> StoreAccess:
    """Read the mounted Secret. Raises ``OSError``, and ``ValueError`` with what is missing or wrong in it."""
    found = {file.name: read_value(file) for file in folder.iterdir() if file.name.startswith("AWS_")}
    missing = [name for name in STORE_REQUIRED if not found.get(name)]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}: add what is missing")
    address = _parts(found["AWS_ENDPOINT_URL"])
    if address.scheme not in ("http", "https") or not address.netloc or address.path.strip("/") or address.username:
        raise ValueError("has an AWS_ENDPOINT_URL that is not like https://host:port: correct it")
    return StoreAccess(
        scheme=address.scheme,
        host=address.netloc,
        key_id=found["AWS_ACCESS_KEY_ID"],
        key=found["AWS_SECRET_ACCESS_KEY"],
        token=found.get("AWS_SESSION_TOKEN") or None,
        region=found.get("AWS_REGION") or DEFAULT_REGION,
    )


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # brackets that hold no IPv6 address
        return SplitResult("", "", "", "", "")
