"""Signs of attacks, while they go on and afterwards: in governed namespaces, on the ways to gateways, in the ledger. Pure.

Admission refuses what is looked for here, so a finding was made before the rules, past them, or by somebody whom they let.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.api.markers import MANAGED_BY_LABEL, RESERVED
from tunegate.cli.doctor.check import Check
from tunegate.reconcile.naming import MANAGED_BY

Json = Mapping[str, Any]
HELM = "Helm"
"""Value of the label on what the chart made."""
SHOWN = 3


def foreign(namespace: str, objects: Iterable[Json], owners: Collection[str], ownerless: Collection[str]) -> Check:
    """Judge what stands under Tunegate's names or labels; ``owners``: uids of the namespace's jobs and servers."""
    name = f"objects of {namespace}"
    found = sorted(f"{one['kind']} {one['metadata']['name']}" for one in objects if _foreign(one, owners, ownerless))
    if not found:
        return Check(name, "OK", "all of Tunegate's names and labels are on objects of its own")
    advice = "find out who made them (audit log), then let a maintainer delete them; the operator takes none for its own"
    return Check(name, "FAIL", _some(found), advice)


def network(namespace: str, policies: Iterable[Json]) -> Check:
    """Judge the NetworkPolicies of a governed namespace: they add up, so one more can only open something."""
    name = f"network policies of {namespace}"
    found = sorted(one["metadata"]["name"] for one in policies if not one["metadata"]["name"].startswith(RESERVED))
    if not found:
        return Check(name, "OK", "none but the chart's")
    return Check(name, "FAIL", _some(found), "delete them: what pods here may reach is said by the chart's values")


def addresses(services: Iterable[Json]) -> Check:
    """Judge Services that claim addresses outside their own: such a one can take over a gateway's cluster address."""
    found = sorted(
        f"{_place(one)} ({', '.join(claimed)})" for one in services if (claimed := one["spec"].get("externalIPs"))
    )
    if not found:
        return Check("external addresses", "OK", "no Service claims any")
    advice = "clients of an address that is a gateway's are led there: delete the Service or its externalIPs"
    return Check("external addresses", "FAIL", _some(found), advice)


def engines(servers: Iterable[Json], listed: Collection[str]) -> Check:
    """Judge the engine images of all servers against the chart's list."""
    found = sorted(
        f"{_place(one)} ({image})" for one in servers if (image := one["spec"]["profile"]["image"]) not in listed
    )
    if not found:
        return Check("engine images", "OK", "every server's image is on the list of the chart's value engines.images")
    return Check("engine images", "FAIL", _some(found), "they get no pods; add the image to engines.images if it is yours")


def closings(servers: Iterable[Json]) -> Check:
    """Judge whether every gateway confirmed that it closed what may not answer any more."""
    found = sorted(
        f"{closing['servedName']} in {_place(one)} ({', '.join(closing['pods'])})"
        for one in servers
        for closing in (one.get("status") or {}).get("closings") or ()
        if closing.get("pods")
    )
    if not found:
        return Check("revocations", "OK", "no gateway is known that may still answer what was revoked")
    return Check("revocations", "FAIL", _some(found), "the operator deletes these pods; do it yourself if it does not run")


def told(records: Sequence[Json], types: Mapping[str, str]) -> Check:
    """Say which attacks the ledger tells of; ``types``: type of a record to what it means, in words."""
    of_attacks = [one for one in records if one["type"] in types]
    if not of_attacks:
        return Check("attacks in the ledger", "OK", "none is recorded")
    counts = Counter(one["type"] for one in of_attacks)
    said = ", ".join(f"{count} × {types[type_]}" for type_, count in counts.most_common())
    last = of_attacks[-1]
    where = f"{last['subject']['kind']} {last['subject'].get('namespace') or ''}/{last['subject']['name']}"
    return Check(
        "attacks in the ledger", "WARN", f"{said}; the last at {last['time']} on {where}",
        "read them: tunegate audit show --type " + ",".join(sorted(counts)),
    )  # fmt: skip


def _foreign(obj: Json, owners: Collection[str], ownerless: Collection[str]) -> bool:
    metadata = obj["metadata"]
    label = (metadata.get("labels") or {}).get(MANAGED_BY_LABEL)
    if label == HELM or (label != MANAGED_BY and not metadata["name"].startswith(RESERVED)):
        return False
    owner = next((one["uid"] for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    return owner not in owners if owner else metadata["name"] not in ownerless


def _place(obj: Json) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
