"""Experiments of our own in MLflow. A name that somebody else took first is left to them, and ours gets one beside it.

One of ours that somebody deleted is restored, with its runs: MLflow keeps its name taken, and takes no run in it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from tunegate.tracking.records import OWNER, OWNER_TAG, STANDS_FOR_TAG

TOKEN_BYTES = 4
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""By which MLflow's pages open on runs and curves, and not on traces of applications."""
OLDEST = ["creation_time ASC"]


@dataclass(frozen=True)
class Experiment:
    """An experiment that the operator made."""

    id: str
    name: str


def beside(name: str) -> str:
    """Return a free name next to one that is taken; nobody can know it before."""
    return f"{name}-{secrets.token_hex(TOKEN_BYTES)}"


def find_experiment(client: Any, name: str) -> Experiment | None:
    """Return our experiment of that name, or the one beside it; None where there is neither."""
    found = client.get_experiment_by_name(name)
    if found is not None and _ours(found):
        return Experiment(str(found.experiment_id), name)
    others = client.search_experiments(filter_string=_standing_for(name), order_by=OLDEST, max_results=1)
    return Experiment(str(others[0].experiment_id), str(others[0].name)) if others else None


def own_experiment(client: Any, name: str) -> Experiment:
    """Return our experiment, making it where there is none, and restoring it where it was deleted."""
    from mlflow.exceptions import MlflowException

    if (found := find_experiment(client, name)) is not None:
        return found
    if (deleted := _deleted(client, name)) is not None:
        client.restore_experiment(deleted.id)
        return deleted
    free = name if client.get_experiment_by_name(name) is None else beside(name)
    try:
        made = client.create_experiment(free, tags={OWNER_TAG: OWNER, STANDS_FOR_TAG: name, KIND_TAG: KIND})
        return Experiment(str(made), free)
    except MlflowException:
        if (found := find_experiment(client, name)) is None:
            raise
        return found


def taken(client: Any, name: str) -> bool:
    """Tell whether the name is somebody else's."""
    found = client.get_experiment_by_name(name)
    return found is not None and not _made_by_us(found)


def _deleted(client: Any, name: str) -> Experiment | None:
    """Return our experiment of that name, or the oldest beside it, that somebody deleted."""
    from mlflow.entities import ViewType

    found = client.get_experiment_by_name(name)
    if found is not None and _made_by_us(found):
        return Experiment(str(found.experiment_id), name)
    others = client.search_experiments(
        view_type=ViewType.DELETED_ONLY, filter_string=_standing_for(name), order_by=OLDEST, max_results=1
    )
    return Experiment(str(others[0].experiment_id), str(others[0].name)) if others else None


def _standing_for(name: str) -> str:
    return f"tags.`{OWNER_TAG}` = '{OWNER}' AND tags.`{STANDS_FOR_TAG}` = '{name}'"


def _ours(experiment: Any) -> bool:
    return _made_by_us(experiment) and experiment.lifecycle_stage == "active"


def _made_by_us(experiment: Any) -> bool:
    return bool(experiment.tags.get(OWNER_TAG) == OWNER)
