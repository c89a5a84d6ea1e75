"""Releases in MLflow: one version of a registered model for each, and what others did to it.

MLflow is a display. Whoever may write there can take a model's name first, also as a prompt, name a version with an alias,
move it to a stage, reword it, delete it or make another one that claims the release: each is told from what was written,
and set right. A name that is taken is left to whoever took it, and the version stands under one beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunegate.tracking.experiments import beside
from tunegate.tracking.records import (
    FINGERPRINT_TAG,
    GONE,
    OWNER,
    OWNER_TAG,
    RELEASE_UID_TAG,
    STANDS_FOR_TAG,
    ReleaseRecord,
    Written,
    shown,
)

PROMPT_TAG = "mlflow.prompt."
"""Prompts are registered models with tags that begin so; lists of models do not show them."""
NO_STAGE = "None"
"""The stage of a version that nobody moved."""


@dataclass(frozen=True)
class _Versions:
    """What MLflow has of a release. ``own`` points at the sealed bytes; ``others`` only say that they are the release."""

    own: Any
    others: tuple[Any, ...]
    aliases: tuple[str, ...]
    """Of own and others. The operator gives none."""


NONE = _Versions(None, (), ())


def write_release(client: Any, record: ReleaseRecord) -> Written:
    """Make the version what the record says, and return its number and its model."""
    model = _find_model(client, record) or _make_model(client, record)
    found = _find(client, model, record)
    for alias in found.aliases:
        client.delete_registered_model_alias(model, alias)
    for other in found.others:
        client.delete_model_version(model, str(other.version))
    version = found.own or client.create_model_version(
        model, record.source, run_id=record.run_id, tags={RELEASE_UID_TAG: record.uid}, description=record.description
    )  # fmt: skip
    number = str(version.version)
    if (version.description or "") != record.description:
        client.update_model_version(model, number, record.description)
    if _staged(version):
        client.transition_model_version_stage(model, number, NO_STAGE)
    wanted = {**record.tags, RELEASE_UID_TAG: record.uid, FINGERPRINT_TAG: record.fingerprint}
    for key, value in shown(wanted).items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(model, number, key, value)
    return Written(number, model)


def changed_release(client: Any, record: ReleaseRecord, *, known: bool, recorded: bool) -> set[str]:
    """Return what is not as it was written, see ``tunegate.tracking.mlflow.Tracking.changed``."""
    wanted_name = record.known_as or record.model
    model = _find_model(client, record)
    found = _find(client, model, record) if model is not None else NONE
    said = {f"alias {alias}" for alias in found.aliases} | ({"source"} if found.others else set())
    if model != wanted_name and _taken(client, wanted_name):
        said.add(f"name {wanted_name}")
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


def _find(client: Any, model: str, record: ReleaseRecord) -> _Versions:
    """Return the versions that carry the release's uid; of several with the right source the oldest is ours."""
    claims = [
        version
        for version in client.search_model_versions(f"name = '{model}'")
        if version.tags.get(RELEASE_UID_TAG) == record.uid
    ]
    claims.sort(key=lambda one: int(one.version))
    own = next((one for one in claims if one.source == record.source), None)
    numbers = {str(one.version) for one in claims}
    named = client.get_registered_model(model).aliases if claims else {}
    aliases = tuple(sorted(alias for alias, number in named.items() if str(number) in numbers))
    return _Versions(own, tuple(one for one in claims if one is not own), aliases)


def _staged(version: Any) -> bool:
    return str(version.current_stage or NO_STAGE) != NO_STAGE


def _find_model(client: Any, record: ReleaseRecord) -> str | None:
    """Return the name of our model: as it was, as it should be, or beside it; None where there is none."""
    for name in dict.fromkeys((record.known_as or record.model, record.model)):
        if _ours(_get(client, name)):
            return name
    for other in client.search_registered_models(f"tags.`{STANDS_FOR_TAG}` = '{record.model}'"):
        if _ours(other):
            return str(other.name)
    return None


def _make_model(client: Any, record: ReleaseRecord) -> str:
    name = beside(record.model) if _taken(client, record.model) else record.model
    client.create_registered_model(name, tags={OWNER_TAG: OWNER, STANDS_FOR_TAG: record.model})
    return name


def _get(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _taken(client: Any, name: str) -> bool:
    """Tell whether there is anything of that name; prompts are asked for by themselves."""
    return _get(client, name) is not None or client.get_prompt(name) is not None


def _ours(model: Any) -> bool:
    """A prompt is nobody's model: versions that are made under it cannot be found again."""
    if model is None or any(key.startswith(PROMPT_TAG) for key in model.tags):
        return False
    return bool(model.tags.get(OWNER_TAG) == OWNER)
