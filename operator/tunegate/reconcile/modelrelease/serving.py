"""How far serving is: what the server's status says of a release that may be served."""

from __future__ import annotations

from tunegate.api.modelrelease import ModelRelease, ReleasePhase
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.modelrelease.status import ConditionDraft


def held(release: ModelRelease, server: ModelServer | None) -> bool:
    """Tell whether the server holds the adapter now."""
    return server is not None and any(
        entry.release_ref.name == release.name and entry.state in ("Loading", "Ready")
        for entry in server.status.adapters
    )


def served(
    release: ModelRelease, frozen: Frozen, server: ModelServer | None, standing: str
) -> tuple[ReleasePhase, str, tuple[ConditionDraft, ...]]:
    """Return phase, message and conditions. ``standing`` is by what it may be served: "approved" or "overridden"."""
    statement = frozen.statement
    name, served_name, model = statement.engine.server, statement.served_name, release.spec.model_name
    if server is None:
        message = f"{standing}; ModelServer {name} does not exist (any more): create it with the evaluated profile"
        return "Approved", message, (ConditionDraft("Ready", "False", ReleaseReason.WAITING_FOR_CATALOGUE, message),)
    status = server.status
    entry = next((one for one in status.adapters if one.served_name == served_name), None)
    if entry is None:
        message = f"{standing}; ModelServer {name} takes it up next"
        return "Approved", message, (ConditionDraft("Ready", "False", ReleaseReason.ROLLING_OUT, message),)
    if entry.state == "LeftOut":
        message = f"{standing}, but ModelServer {name} leaves it out: {entry.reason}"
        return "Approved", message, (ConditionDraft("Ready", "False", ReleaseReason.LEFT_OUT, message),)
    if entry.state == "Waiting":
        message = f"{standing}, and waits: ModelServer {name} says: {entry.reason}"
        return "Approved", message, (ConditionDraft("Ready", "False", ReleaseReason.WAITING_FOR_SLOT, message),)
    if entry.state == "Loading":
        message = f"ModelServer {name} is loading {served_name}"
        return "RollingOut", message, (ConditionDraft("Ready", "False", ReleaseReason.ROLLING_OUT, message),)
    open_ = [route for route in status.routes if route.state == "Open"]
    own = [route.name for route in open_ if served_name in route.served_names]
    if own:
        message = f"answers as {', '.join(own)} on ModelServer {name}"
        return "Serving", message, (ConditionDraft("Ready", "True", ReleaseReason.ROUTE_OPEN, message),)
    other = next((", ".join(route.served_names) for route in open_ if route.name == model), None)
    if other is not None:
        message = f"loaded; route {model} of ModelServer {name} answers with {other}"
        condition = ConditionDraft("Ready", "False", ReleaseReason.NEWER_RELEASE, message)
        return (
            "Approved",
            message,
            (condition, ConditionDraft("Superseded", "True", ReleaseReason.NEWER_RELEASE, message)),
        )
    message = f"loaded, but ModelServer {name} has no open route {model}: add one to spec.routes"
    return "Approved", message, (ConditionDraft("Ready", "False", ReleaseReason.NO_ROUTE, message),)
