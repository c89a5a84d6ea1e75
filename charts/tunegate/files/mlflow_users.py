"""Make MLflow's users, experiments and grants before the server starts; running it again changes nothing.

Runs inside the MLflow image as init container, on the databases themselves: so the grants are there before the first
request, and no stage pod ever owns an experiment. A stage user may write runs of its namespace's experiment; it is denied
registered models, so that it cannot take a governed name first.
"""

import json
import os
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore as UserStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

STAGE_PREFIX = "tunegate-stage-"


def main() -> None:
    """Read the wanted namespaces and passwords from the environment and bring MLflow's databases there."""
    namespaces = json.loads(os.environ["TUNEGATE_NAMESPACES"])
    passwords = Path(os.environ["TUNEGATE_PASSWORDS"])
    Path(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).mkdir(parents=True, exist_ok=True)
    users = UserStore()
    users.init_db(read_auth_config().database_uri)
    runs = TrackingStore(os.environ["MLFLOW_BACKEND_STORE_URI"], "mlflow-artifacts:/")

    ensure_user(users, "tunegate-operator", (passwords / "operator").read_text(), admin=True)
    ensure_user(users, "tunegate-viewer", (passwords / "viewer").read_text())
    for kind in ("experiment", "registered_model"):
        users.grant_user_permission("tunegate-viewer", kind, "*", "READ")

    for namespace in namespaces:
        name = STAGE_PREFIX + namespace
        ensure_user(users, name, (passwords / f"stage-{namespace}").read_text())
        users.grant_user_permission(name, "experiment", ensure_experiment(runs, f"tunegate/{namespace}"), "EDIT")
        users.grant_user_permission(name, "registered_model", "*", "DENY")

    wanted = {STAGE_PREFIX + namespace for namespace in namespaces}
    for user in users.list_users():
        if user.username.startswith(STAGE_PREFIX) and user.username not in wanted:
            users.delete_user(user.username)
            print(f"removed {user.username}: its namespace is no longer governed")


def ensure_user(users: UserStore, name: str, password: str, *, admin: bool = False) -> None:
    """Make the user, or set its password again if it differs."""
    if not users.has_user(name):
        users.create_user(name, password, is_admin=admin)
        print(f"made user {name}")
    elif not users.authenticate_user(name, password):
        users.update_user(name, password=password)
        print(f"set a new password for {name}")


def ensure_experiment(runs: TrackingStore, name: str) -> str:
    """Return the id of the experiment, making it if needed."""
    try:
        return str(runs.create_experiment(name, None, []))
    except MlflowException:
        found = runs.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


if __name__ == "__main__":
    main()
