"""Signs of attacks, while they go on and afterwards: in governed namespaces, on the ways to gateways, in the ledger. Pure.

Admission refuses what is looked for here, so a finding was made before the rules, past them, or by somebody whom they let.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from tunegate.api.markers import MANAGED_BY_LABEL, RESERVED
from tunegate.cli.doctor.check import Check
from tunegate.ledger.chain import record_name
from tunegate.reconcile.naming import MANAGED_BY

Json = Mapping[str, Any]
HELM = "Helm"
"""Value of the label on what the chart made."""
SHOWN = 3
MANY_TRIES = 10


def foreign(namespace: str, objects: Iterable[Json], owners: Collection[str], ownerless: Collection[str]) -> Check:
    """Judge what stands under Tunegate's names or labels; ``owners``: uids of the namespace's jobs and servers."""
    name = f"objects of {namespace}"
    found = sorted(f"{one['kind']} {one['metadata']['name']}" for one in objects if _foreign(one, owners, ownerless))
    if not found:
        return Check(name, "OK", "all of Tunegate's names and labels are on objects of its own")
    advice = (
        "find out who made them (audit log), then let a maintainer delete them; the operator takes none for its own"
    )
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
        return Check("engine images", "OK", "every server's image is on the list of the chart's value images.engines")
    return Check(
        "engine images", "FAIL", _some(found), "they get no pods; add the image to images.engines if it is yours"
    )


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
    return Check(
        "revocations", "FAIL", _some(found), "the operator deletes these pods; do it yourself if it does not run"
    )


def volumes(servers: Iterable[Json]) -> Check:
    """Judge where servers read their base model from: a claim that others may replace is hashed at each start, no more."""
    found = sorted(_place(one) for one in servers if (one.get("status") or {}).get("baseVolume") == "Open")
    if not found:
        return Check("base model volumes", "OK", "none that somebody of its namespace could replace")
    advice = f"put the base model on a claim named {RESERVED}…, which maintainers alone make (docs/operate.md)"
    return Check("base model volumes", "WARN", f"may be replaced under {_some(found)}", advice)


def floods(usages: Iterable[Json]) -> Check:
    """Say who has reached a bound of the quotas."""
    found = sorted(
        {
            f"{reached['username']} ({reached['bound'].lower()} in {one['metadata']['namespace']})"
            for one in usages
            for reached in one["spec"].get("reached") or ()
        }
    )
    if not found:
        return Check("quotas by person", "OK", "nobody has reached one")
    return Check(
        "quotas by person", "WARN", _some(found), "ask them; the bounds are the chart's value quotas.perPerson"
    )


def tries(suites: Iterable[Json]) -> Check:
    """Name the suites that were tried often: among many tries one passes by luck."""
    totals = {_place(one): (one.get("status") or {}).get("tries", {}).get("total", 0) for one in suites}
    found = sorted((place for place in totals if totals[place] >= MANY_TRIES), key=lambda place: -totals[place])
    if not found:
        return Check("tries on suites", "OK", f"none was tried {MANY_TRIES} times or more")
    advice = "read who tried and when in the suite's status.tries; freeze new questions"
    return Check("tries on suites", "WARN", _some([f"{place} ({totals[place]})" for place in found]), advice)


TOLD = {
    "ForeignObjectFound": "an object that was not Tunegate's under its name",
    "ServingPodDeleted": "a pod deleted because it did not confirm a revocation",
    "TrackingDrift": "a change in MLflow by somebody else",
    "AdmissionDrift": "admission rules that were altered",
}
"""Type of a record to what it tells."""


def told(records: Sequence[Json]) -> Check:
    """Say which attacks the ledger tells of; ``records`` are in order."""
    of_attacks = [one for one in records if one["type"] in TOLD]
    if not of_attacks:
        return Check("attacks in the ledger", "OK", "none is recorded")
    counts = Counter(one["type"] for one in of_attacks)
    said = ", ".join(f"{TOLD[type_]} ({count})" for type_, count in counts.most_common())
    last = of_attacks[-1]
    where = "/".join(filter(None, (last["subject"].get("namespace"), last["subject"]["name"])))
    found = f"{said}; the last at {last['time']} on {last['subject']['kind']} {where}"
    return Check(
        "attacks in the ledger", "WARN", found, f"kubectl describe auditrecord {record_name(last['sequence'])}"
    )


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
