"""Do the rules hold: the cluster's version, the admission policies, how people are known, what the ledger is kept by. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tunegate.admission.rules import REPAIR, Rule, differences
from tunegate.api.conditions import from_rfc3339
from tunegate.api.numbers import count_of
from tunegate.cli.doctor.check import Check
from tunegate.ledger.seal import SEALS

Json = Mapping[str, Any]
OLDEST = (1, 30)
"""First Kubernetes with ValidatingAdmissionPolicy as a stable API."""
PERSON_ID = "tunegate.io/person-id"
SHOWN = 3
SLACK = 3
"""A checkpoint may be late by this many of its intervals before that is worth a word."""


def version(found: Json) -> Check:
    """Judge the API server's version."""
    major, minor = (int(re.sub(r"\D", "", str(found.get(key, "0"))) or 0) for key in ("major", "minor"))
    name, text = "Kubernetes", str(found.get("gitVersion", "unknown"))
    if (major, minor) >= OLDEST:
        return Check(name, "OK", text)
    return Check(
        name, "FAIL", text, f"upgrade to {OLDEST[0]}.{OLDEST[1]} or newer: it lacks what binds approvals to people"
    )


def admission(expected: Sequence[Rule], live: Sequence[Json], source: str) -> Check:
    """Compare the live admission policies and CRDs with those that should hold."""
    found = differences(expected, live)
    if not found:
        return Check("admission rules", "OK", f"all {len(expected)} are as in {source}")
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return Check("admission rules", "FAIL", "; ".join(found[:SHOWN]) + more, REPAIR[0].lower() + REPAIR[1:])


def level(expected: Sequence[Rule], me: Json, policies: Sequence[Json]) -> Iterator[Check]:
    """Say how surely people are known: L1 by account, L2 by person, L3 by their own key."""
    binding = any(PERSON_ID in str(rule.spec) for rule in expected if rule.name == "tunegate-approver")
    known = PERSON_ID in (me.get("extra") or {})
    asked = [one for one in policies if (one["spec"].get("identity") or {}).get("requirePersonId")]
    signed = [one for one in policies if all(rule.get("signers") for rule in _deciding(one["spec"]))]
    if not (binding and known):
        why = "your login carries no person-id" if binding else "the admission rules bind accounts only"
        advice = "let the API server's authentication set the extra tunegate.io/person-id, and policies require it"
        yield Check("assurance level", "WARN", f"L1, accounts: {why}", advice)
    elif len(asked) < len(policies):
        names = ", ".join(one["metadata"]["name"] for one in policies if one not in asked)
        yield Check(
            "assurance level", "WARN", f"L1 under {names}, which do not require a person-id", "require it there"
        )
    elif policies and len(signed) == len(policies):
        yield Check("assurance level", "OK", "L3, people who sign with keys of their own")
    else:
        yield Check(
            "assurance level", "OK", "L2, people: every policy requires the person-id that the API server proves"
        )


def _deciding(spec: Json) -> Iterator[Json]:
    """Yield every rule of a policy by which people let something go on."""
    yield from spec["roles"]
    yield from spec.get("waivers") or ()
    if spec.get("breakGlass"):
        yield spec["breakGlass"]


def ledger(records: Sequence[Json], settings: Mapping[str, str], now: datetime) -> Iterator[Check]:
    """Judge signing, anchors and the age of the last checkpoint; ``records`` are in order."""
    drift = [one for one in records if one["type"] in ("AdmissionDrift", "AdmissionVerified")]
    if drift and drift[-1]["type"] == "AdmissionDrift":
        advice = "repair the rules; what was made meanwhile counts for nothing"
        yield Check("operator's own look", "FAIL", f"found altered rules at {drift[-1]['time']}", advice)
    elif drift:
        yield Check("operator's own look", "OK", f"rules in force without a break since {drift[-1]['time']}")
    else:
        yield Check(
            "operator's own look", "WARN", "no record that it ever saw the rules in force", "see the operator's log"
        )
    yield from _checkpoints(records, settings, now)


ANCHORS = {
    "TUNEGATE_ANCHOR_BUCKET": "in a bucket with Object Lock", "TUNEGATE_ANCHOR_FOLDER": "as files on a claim",
    "TUNEGATE_ANCHOR_SYSLOG": "by a log server",
}  # fmt: skip
"""Setting of the operator, and where it keeps checkpoints."""


def anchors(settings: Mapping[str, str]) -> Check:
    """Judge whether checkpoints are kept outside the cluster's store."""
    places = [place for name, place in ANCHORS.items() if settings.get(name)]
    if places:
        return Check("anchors", "OK", f"checkpoints are also kept {' and '.join(places)}")
    found = "only MLflow keeps the newest checkpoint" if settings.get("TUNEGATE_MLFLOW_URI") else "none are kept"
    return Check(
        "anchors",
        "WARN",
        found,
        "set ledger.anchorBucket or anchorClaim: without anchors nothing shows that a history was written again",
    )


def _checkpoints(records: Sequence[Json], settings: Mapping[str, str], now: datetime) -> Iterator[Check]:
    if not settings.get("TUNEGATE_LEDGER_KEYS"):
        yield Check("ledger key", "FAIL", "the operator has no key", "set ledger.keySecret, or let the chart make one")
        return
    seals = [index for index, one in enumerate(records) if one["type"] in SEALS]
    later = records[seals[-1] + 1 :] if seals else records
    minutes = int(settings.get("TUNEGATE_CHECKPOINT_MINUTES") or 10)
    late = bool(later) and now - from_rfc3339(later[0]["time"]) > timedelta(minutes=minutes * SLACK)
    signed = f"last signed at {records[seals[-1]]['time']}" if seals else "nothing is signed yet"
    if late:
        advice = f"{count_of(len(later), 'record')} not signed since {later[0]['time']}: see the operator's log for the ledger's key"
        yield Check("checkpoints", "FAIL", signed, advice)
    else:
        yield Check("checkpoints", "OK", f"{signed}; {count_of(len(later), 'record')} since")
