"""Could anybody get around the rules? Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tunegate.cli.doctor.check import Check
from tunegate.rbac import duties
from tunegate.rbac.holders import EVENT, Holders, in_words, payloads, replayed, subject_of
from tunegate.rbac.powers import POWERS, Power, holders
from tunegate.rbac.rights import Rights, Subject


def powers(rights: Rights, system: str) -> Iterator[Check]:
    """Yield a check for each power: a failure where somebody holds it who decides or asks under Tunegate."""
    people = duties.people(rights)
    if rights.unlimited:
        shared = [one for one in rights.unlimited if one.everybody or one in people]
        yield Check(
            "administrators", "FAIL" if shared else "WARN", f"may do everything: {_names(rights.unlimited)}",
            f"take it from {_names(shared)}" if shared
            else "nothing in the cluster stops them: keep anchors and audit log out of their reach",
        )  # fmt: skip
    for power in POWERS:
        yield _judged(power, holders(rights, power, system), people)


def recorded(records: Sequence[Mapping[str, Any]], held: Holders, system: str, settings: Mapping[str, str]) -> Check:
    """Say what the operator of ``system`` recorded last of who holds which power; ``held`` is who does now."""
    name, over = "last change of powers", subject_of(system).uid
    looks = [one for one in records if one["type"] == EVENT and one["subject"]["uid"] == over]
    seconds = settings.get("TUNEGATE_POWERS_SECONDS")
    if not seconds or float(seconds) == 0:
        return Check(name, "WARN", "the operator does not look", "set the chart's value operator.powersSeconds")
    if not looks:
        return Check(name, "WARN", "no record that the operator ever looked", "see the operator's log")
    last = looks[-1]
    if unknown := [in_words(one) for one in payloads(replayed(looks), held, "")]:
        advice = f"the operator records it within {seconds} seconds; see its log where this stays"
        return Check(name, "WARN", f"not recorded since {last['time']}: {'; '.join(unknown)}", advice)
    return Check(
        name, "OK", f"{last['time']}: {in_words(last['payload']) if last['payload'].get('since') else 'first look'}"
    )


def _judged(power: Power, found: Sequence[Subject], people: Collection[Subject]) -> Check:
    if not found:
        return Check(power.name, "OK", "nobody but administrators")
    worst = [one for one in found if one.everybody or one in people]
    advice = f"they could {power.means}"
    if worst:
        return Check(power.name, "FAIL", _names(found), f"take it from {_names(worst)}: {advice}")
    return Check(power.name, "WARN", _names(found), f"{advice}: is each of them meant to?")


def _names(subjects: Sequence[Subject]) -> str:
    return ", ".join(map(str, subjects))
