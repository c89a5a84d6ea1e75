"""What the rules have to be, how live ones differ, and when nobody can vouch for them. Pure.

Rules are the chart's admission policies with their bindings, and our CRDs: their schemas keep what was asked for and
decided as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.conditions import from_rfc3339
from tunegate.digests import document_digest
from tunegate.errors import Terminal
from tunegate.ledger.entry import AuditSubject

Json = Mapping[str, Any]
API = "admissionregistration.k8s.io/v1"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
DEFINITIONS_API, DEFINITION = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
DEFAULTS: Json = {
    "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "scope": "*",
}  # fmt: skip
"""What the API server fills in where the chart is silent. Any other field that the chart has not could narrow a rule."""
DEFINITION_DEFAULTS: Json = {"conversion": {"strategy": "None"}}
REPAIR = (
    "Put back what was altered, a policy or binding by deleting it and helm upgrade, a CRD by kubectl replace (who deletes "
    "a CRD deletes every object of its kind), and find out who did it"
)


@dataclass(frozen=True)
class Rule:
    """One policy, binding or CRD as it has to be."""

    kind: str
    name: str
    spec: Json


@dataclass(frozen=True)
class Window:
    """A time in which the rules may not have been in force, ends included: who wrote what then is not known."""

    since: datetime
    until: datetime


def subject_of(namespace: str) -> AuditSubject:
    """Return the ledger's subject for all rules of the chart that is installed in ``namespace``."""
    return AuditSubject(KINDS[0], namespace, "tunegate", f"admission-of-{namespace}")


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of the chart's document. Raises ``Terminal`` when it holds none."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = tuple(Rule(one["kind"], one["metadata"]["name"], one["spec"]) for one in documents if one["kind"] in KINDS)
    if not found:
        raise Terminal("BadSettings", "the file of TUNEGATE_ADMISSION_RULES holds no admission policy")
    return found


def differences(expected: Sequence[Rule], live: Iterable[Json]) -> list[str]:
    """Return in words what is missing or not as it has to be; empty: all rules are in force."""
    there = {(one["kind"], one["metadata"]["name"]): one for one in live}
    found = []
    for rule in expected:
        one = there.get((rule.kind, rule.name))
        if one is None:
            lost = ", and every object of its kind with it" if rule.kind == DEFINITION else ""
            found.append(f"{rule.kind} {rule.name} is missing{lost}")
        elif "deletionTimestamp" in one["metadata"]:
            found.append(f"{rule.kind} {rule.name} is being deleted")
        else:
            defaults = DEFINITION_DEFAULTS if rule.kind == DEFINITION else DEFAULTS
            places = _differing("spec", rule.spec, one["spec"], defaults)
            found += [f"{rule.kind} {rule.name}: {place}" for place in places]
    return found


def _differing(place: str, want: Any, have: Any, defaults: Json) -> Iterator[str]:
    if isinstance(want, Mapping) and isinstance(have, Mapping):
        for name in {**want, **have}:
            if name not in have:
                yield f"{place}.{name} was removed"
            elif name in want:
                yield from _differing(f"{place}.{name}", want[name], have[name], defaults)
            elif name not in defaults or have[name] != defaults[name]:
                yield f"{place}.{name} was added"
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for number, (one, other) in enumerate(zip(want, have, strict=True)):
            yield from _differing(f"{place}[{number}]", one, other, defaults)
    elif want != have:
        yield f"{place} was changed"


def fingerprint(expected: Sequence[Rule], live: Iterable[Json]) -> str:
    """Return a digest that changes when a rule is edited, or deleted and made again, even to the same content."""
    names = {(rule.kind, rule.name) for rule in expected}
    marks = sorted(
        [one["kind"], one["metadata"]["name"], one["metadata"]["uid"], one["metadata"]["generation"]]
        for one in live
        if (one["kind"], one["metadata"]["name"]) in names
    )
    return document_digest({"rules": marks})


def windows(records: Iterable[AuditRecordSpec]) -> tuple[Window, ...]:
    """Return the times that the records about the rules leave open. Before the first look nobody vouches for anything."""
    return tuple(
        Window(_moment(record.payload["since"]), _moment(record.payload["until"]))
        for record in records
        if record.type == "AdmissionVerified"
    )


def unguarded(created: datetime, times: Iterable[Window]) -> bool:
    """Tell whether something was created while the rules may not have been in force."""
    return any(window.since <= created <= window.until for window in times)


def _moment(text: str) -> datetime:
    return from_rfc3339(text) if text else datetime.min.replace(tzinfo=UTC)
