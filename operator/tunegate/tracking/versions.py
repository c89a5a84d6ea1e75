"""Releases in MLflow: one version of a registered model for each, and what others did to it.

MLflow is a display. Whoever may write there can name a version with an alias, move it to a stage, reword it, delete it or
make another one that claims the release: each is told from what was written, and set right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunegate.tracking.records import FINGERPRINT_TAG, OWNER, OWNER_TAG, RELEASE_UID_TAG, ReleaseRecord, shown

GONE = "gone"
NO_STAGE = "None"
"""The stage of a version that nobody moved."""


@dataclass(frozen=True)
class _Versions:
    """What MLflow has of a release. ``own`` points at the sealed bytes; ``others`` only say that they are the release."""

    own: Any
    others: tuple[Any, ...]
    aliases: tuple[str, ...]
    """Of own and others. The operator gives none."""


def write_release(client: Any, record: ReleaseRecord) -> str:
    """Make the version what the record says, and return its number."""
    _ensure_model(client, record.model)
    found = _find(client, record)
    for alias in found.aliases:
        client.delete_registered_model_alias(record.model, alias)
    for other in found.others:
        client.delete_model_version(record.model, str(other.version))
    version = found.own or client.create_model_version(
        record.model, record.source, run_id=record.run_id, tags={RELEASE_UID_TAG: record.uid}, description=record.description
    )  # fmt: skip
    number = str(version.version)
    if (version.description or "") != record.description:
        client.update_model_version(record.model, number, record.description)
    if _staged(version):
        client.transition_model_version_stage(record.model, number, NO_STAGE)
    wanted = {**record.tags, RELEASE_UID_TAG: record.uid, FINGERPRINT_TAG: record.fingerprint}
    for key, value in shown(wanted).items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(record.model, number, key, value)
    return number


def changed_release(client: Any, record: ReleaseRecord, *, known: bool, recorded: bool) -> set[str]:
    """Return what is not as it was written, see ``tunegate.tracking.mlflow.Tracking.changed``."""
    found = _find(client, record)
    said = {f"alias {alias}" for alias in found.aliases} | ({"source"} if found.others else set())
    if found.own is None:
        return said | ({GONE} if recorded else set())
    if _staged(found.own):
        said.add("stage")
    if not known and found.own.tags.get(FINGERPRINT_TAG) != record.fingerprint:
        return said
    if (found.own.description or "") != record.description:
        said.add("description")
    wanted = shown({**record.tags, FINGERPRINT_TAG: record.fingerprint})
    return said | {key for key, value in wanted.items() if found.own.tags.get(key) != value}


def _find(client: Any, record: ReleaseRecord) -> _Versions:
    """Return the versions that carry the release's uid; of several with the right source the oldest is ours."""
    claims = [
        version
        for version in client.search_model_versions(f"name = '{record.model}'")
        if version.tags.get(RELEASE_UID_TAG) == record.uid
    ]
    claims.sort(key=lambda one: int(one.version))
    own = next((one for one in claims if one.source == record.source), None)
    numbers = {str(one.version) for one in claims}
    named = client.get_registered_model(record.model).aliases if claims else {}
    aliases = tuple(sorted(alias for alias, number in named.items() if str(number) in numbers))
    return _Versions(own, tuple(one for one in claims if one is not own), aliases)


def _staged(version: Any) -> bool:
    return str(version.current_stage or NO_STAGE) != NO_STAGE


def _ensure_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={OWNER_TAG: OWNER})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
