"""The Secret that opens an S3-compatible store, as a pod has it mounted: one reading for data sets and for anchors.

The requests differ: stages read rows with pyarrow, which they have anyway, and anchors need object locks, which it cannot set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tunegate.api.stage.layout import STORE_REQUIRED
from tunegate.secret_values import read_value

TOKEN, REGION = "AWS_SESSION_TOKEN", "AWS_REGION"
"""Keys that a Secret may have besides the required ones."""
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
    folder.stat()  # a Secret that is not mounted is no Secret that lacks something
    # Only what is used: a Secret that other programs read as well may hold a whole file under another name.
    found = {name: read_value(folder / name) for name in (*STORE_REQUIRED, TOKEN, REGION)}
    missing = [name for name in STORE_REQUIRED if not found[name]]
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
        token=found[TOKEN] or None,
        region=found[REGION] or DEFAULT_REGION,
    )


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # brackets that hold no IPv6 address
        return SplitResult("", "", "", "", "")
