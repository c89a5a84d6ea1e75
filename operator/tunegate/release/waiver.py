"""Waivers: which findings of validation people may answer for under a policy, and the digest that such an answer names."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tunegate.api.approvalpolicy import IdentityRule, WaiverRule
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.spec import MUTABLE
from tunegate.api.finetunejob.status import WaiverFinding
from tunegate.digests import document_digest

FORM = "tunegate.io/waiver/v1"


def not_waivable(checks: Collection[str], rules: Sequence[WaiverRule]) -> tuple[str, ...]:
    """Return those of ``checks`` that no rule lists, sorted: each of them ends the job."""
    listed = {finding for rule in rules for finding in rule.findings}
    return tuple(sorted(set(checks) - listed))


def applying(checks: Collection[str], rules: Sequence[WaiverRule]) -> tuple[WaiverRule, ...]:
    """Return the rules that ``checks`` call for, by name."""
    return tuple(sorted((rule for rule in rules if set(checks) & set(rule.findings)), key=lambda rule: rule.name))


def waiver_digest(
    job: FineTuneJob,
    data: str,
    result: str,
    findings: Sequence[WaiverFinding],
    rules: Sequence[WaiverRule],
    identity: IdentityRule | None = None,
) -> str:
    """Return the SHA-256 of the RFC 8785 JSON of all that a waiver is about.

    ``data`` is the digest of the training data, ``result`` the OCI digest of the validation's result, which holds every
    finding with its rows. ``rules`` are those that apply, ``identity`` says who may be counted: a rule that is loosened
    meanwhile makes another digest, so approvals given under the stricter one are not counted under the new one, nor the
    other way round. A policy without ``identity`` leaves it out.
    """
    spec = {name: value for name, value in job.spec.to_dict().items() if name not in MUTABLE}
    return document_digest({
        "form": FORM,
        "job": {"uid": job.uid, "spec": spec},
        "data": data,
        "validation": result,
        "findings": sorted([finding.check, finding.count] for finding in findings),
        "rules": [rule.to_dict() for rule in rules],
        **({"identity": identity.to_dict()} if identity is not None else {}),
    })  # fmt: skip
