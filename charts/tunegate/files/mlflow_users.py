"""Make MLflow's users before the server starts; running it again changes nothing.

Runs inside the MLflow image as init container, on the database itself, so that they exist before the first request.
There are two: the operator, who writes, and the exchange, which reads for people, see `tunegate_mlflow_access.py`. No program in
a governed namespace has an account: the operator reads what stages report from their results.
"""

import os
from pathlib import Path

from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore as UserStore


def main() -> None:
    """Read the passwords from the folder that the environment names and bring MLflow's database there."""
    passwords = Path(os.environ["TUNEGATE_PASSWORDS"])
    Path(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).mkdir(parents=True, exist_ok=True)
    users = UserStore()
    users.init_db(read_auth_config().database_uri)
    ensure_user(users, "tunegate-operator", (passwords / "operator").read_text(), admin=True)
    ensure_user(users, "tunegate-exchange", (passwords / "exchange").read_text())


def ensure_user(users: UserStore, name: str, password: str, *, admin: bool = False) -> None:
    """Make the user, or set its password again if it differs."""
    if not users.has_user(name):
        users.create_user(name, password, is_admin=admin)
        print(f"made user {name}")
    elif not users.authenticate_user(name, password):
        users.update_user(name, password=password)
        print(f"set a new password for {name}")


if __name__ == "__main__":
    main()
