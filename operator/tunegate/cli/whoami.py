"""Who is at the terminal, as the API server knows them: what goes into `spec.requestedBy` and `spec.approver`."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.shared import AUTH_TIME, PERSON_ID, SERVICE_ACCOUNT
from tunegate.cli.cluster import Cluster, Json

MOST_GROUPS = 64
"""What `spec.requestedBy.groups` takes."""


def own_groups(me: Json) -> list[str]:
    """Return the groups of the answer of ``Cluster.whoami``, without those that Kubernetes gives."""
    return [group for group in me.get("groups") or [] if not group.startswith("system:")]


def requester(cluster: Cluster) -> Json:
    """Return the caller as `spec.requestedBy`; the right to use servers and pools is usually a group's."""
    me = cluster.whoami()
    unverified = {"unverified": True} if me["username"].startswith(SERVICE_ACCOUNT) else {}
    return {**caller(me, own_groups(me)[:MOST_GROUPS]), **unverified}


def caller(me: Json, groups: Sequence[str]) -> Json:
    """Return the person as admission wants them: all that the API server proved, and of the groups those given."""
    extra = me.get("extra") or {}
    said = {
        "uid": me.get("uid"),
        "personId": next(iter(extra.get(PERSON_ID) or []), None),
        "authTime": next(iter(extra.get(AUTH_TIME) or []), None),
    }
    return {
        "username": me["username"],
        "groups": list(groups),
        **{name: value for name, value in said.items() if value},
    }
