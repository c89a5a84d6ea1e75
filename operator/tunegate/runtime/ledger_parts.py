"""Makes from the settings what signs the ledger, where its checkpoints are kept, and the ledger that is compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from tunegate.errors import Terminal
from tunegate.ledger.anchors.anchoring import Checkpoints
from tunegate.ledger.anchors.bucket import BucketAnchor
from tunegate.ledger.anchors.places import AnchorPlace, FolderAnchor, MlflowAnchor, read_places
from tunegate.ledger.anchors.syslog import SyslogAnchor
from tunegate.ledger.anchors.timestamps import TimeAuthority, read_chain
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter, RecordStore
from tunegate.settings import Settings
from tunegate.tracking.mlflow import Tracking


def keys(settings: Settings) -> KeyRing | None:
    """Return the operator's keys; None where it signs nothing. Raises ``Terminal``."""
    if settings.ledger_keys is None:
        return None
    try:
        return KeyRing.from_folder(settings.ledger_keys)
    except (OSError, ValueError) as error:
        raise Terminal("BadSettings", f"the ledger's signing key cannot be read: {error}") from error


def places(settings: Settings, tracking: Tracking | None, ring: KeyRing | None) -> list[AnchorPlace]:
    """Return the anchors."""
    found: list[AnchorPlace] = []
    if settings.anchor_folder is not None:
        found.append(FolderAnchor(settings.anchor_folder))
    if settings.anchor_bucket is not None and settings.anchor_store is not None:
        retention = timedelta(days=settings.anchor_days)
        found.append(
            BucketAnchor(
                settings.anchor_bucket,
                settings.anchor_prefix,
                settings.anchor_store,
                retention,
                ca_file=settings.ca_file,
            )
        )
    if settings.anchor_syslog is not None:
        found.append(SyslogAnchor(settings.anchor_syslog, settings.ca_file))
    if tracking is not None and ring is not None:
        found.append(MlflowAnchor(tracking, ring))
    return found


def writer(store: RecordStore, anchors: Sequence[AnchorPlace], ring: KeyRing | None) -> LedgerWriter:
    """Return the ledger; before it appends anything it compares itself with the anchors."""
    return LedgerWriter(store, anchors=partial(read_places, anchors), keys=ring.publics if ring is not None else ())


def checkpoints(
    settings: Settings, ledger: LedgerWriter, anchors: Sequence[AnchorPlace], ring: KeyRing | None
) -> Checkpoints | None:
    """Return what signs the ledger; None where there is no key. Raises ``Terminal``."""
    if ring is None:
        return None
    return Checkpoints(
        ledger,
        ring,
        anchors,
        records=settings.checkpoint_records,
        age=timedelta(minutes=settings.checkpoint_minutes),
        authority=_authority(settings),
    )


def _authority(settings: Settings) -> TimeAuthority | None:
    if settings.timestamp_url is None or settings.timestamp_roots is None:
        return None
    try:
        roots = read_chain(settings.timestamp_roots.read_bytes())
        return TimeAuthority(settings.timestamp_url, roots, settings.ca_file)
    except (OSError, ValueError) as error:
        raise Terminal("BadSettings", f"TUNEGATE_TIMESTAMP_ROOTS: {settings.timestamp_roots}: {error}") from error
