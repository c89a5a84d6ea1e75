"""`risk.json`: what the model may be used for, what was looked for and found, what nobody looked at, how to stop it.

The groups are the twelve risks of NIST AI 600-1 (Generative AI Profile, 2024). Most of them Tunegate does not measure, and
says so: a risk without a measurement is for the reviewers to judge.
"""

from __future__ import annotations

from typing import Any

from tunegate.evidence.story import Story

Json = dict[str, Any]
CHECKS = {
    "Data Privacy": ("PersonalData", "HealthData"),
    "Information Security": ("Secrets", "Triggers", "ControlTokens", "InvisibleCharacters"),
}
"""Data checks that speak of a risk; the others speak of the quality of data and evaluation."""
UNMEASURED = (
    "CBRN Information or Capabilities", "Dangerous, Violent, or Hateful Content",
    "Harmful Bias and Homogenization", "Human-AI Configuration", "Information Integrity",
    "Obscene, Degrading, and/or Abusive Content",
)  # fmt: skip
NOT_COVERED = (
    "inputs of another kind than the questions of the suite",
    "what the model answers to attacks, and to questions outside its intended use",
    "bias, toxicity and safety of answers, unless a metric of the suite measures them",
    "what data checks have no rule for: they look at rows, not at what the adapter remembers of them",
    "changes after release: of users, of their questions, of the world",
)
"""Holds for every evaluation of Tunegate."""
REVOKE = "tunegate revoke release/{release.name} -n {release.namespace} --reason REASON"


def risk(story: Story) -> Json:
    """Return the document."""
    spec = story.statement.release.spec
    return {
        "intendedUse": spec.intended_use,
        "level": spec.risk,
        "statedBy": spec.requested_by.username,
        "groups": [*_measured(story), *({"risk": name, "lookedAt": []} for name in UNMEASURED)],
        "otherFindings": _other_checks(story),
        "waived": _waived(story),
        "evaluation": {
            "suite": story.statement.evaluation.suite,
            "questions": story.evaluation.questions,
            "outcome": story.evaluation.outcome,
            "reasons": story.evaluation.reasons,
            "notCovered": list(NOT_COVERED),
        },
        "deactivation": _deactivation(story),
    }


def _measured(story: Story) -> list[Json]:
    stated, base, training = story.statement.data, story.statement.base_model, story.training
    gate, engine = story.statement.evaluation, story.statement.engine.profile.image
    hours = f"{training.seconds * training.world_size / 3600:.2f} device-hours of training" if training else ""
    looked = {
        "Confabulation": [f"right answers on suite {gate.suite}: {gate.metric} {gate.tuned}, gate {gate.outcome}"],
        "Data Privacy": [f"data of class {stated.classification}", *_checks(story, CHECKS["Data Privacy"])],
        "Environmental Impacts": [hours] if hours else [],
        "Information Security": [
            "the adapter has no file that runs code when it is read", *_checks(story, CHECKS["Information Security"]),
        ],
        "Intellectual Property": [f"license of the data: {stated.license}", f"license of the base model: {base.license}"],
        "Value Chain and Component Integration": [
            f"base model {base.name}, {base.manifest_digest}", f"engine {engine}", "libraries: mlbom.cdx.json",
        ],
    }  # fmt: skip
    return [{"risk": name, "lookedAt": found} for name, found in looked.items()]


def _checks(story: Story, names: tuple[str, ...]) -> list[str]:
    counts = {one.check: one.count for one in story.data.findings}
    return [
        f"data check {one.name} ({one.action}): {counts.get(one.name, 0)} found"
        for one in story.data.checks
        if one.name in names and one.action != "Off"
    ]


def _other_checks(story: Story) -> list[Json]:
    """Return the findings that belong to none of the risks above."""
    known = {name for names in CHECKS.values() for name in names}
    return [
        {"check": one.check, "action": one.action, "count": one.count}
        for one in story.data.findings
        if one.check not in known
    ]


def _waived(story: Story) -> list[Json]:
    waiver = story.statement.job.waiver
    people = ", ".join(one.username for one in waiver.approvals) if waiver else ""
    return [{"check": one.check, "count": one.count, "waivedBy": people} for one in waiver.findings] if waiver else []


def _deactivation(story: Story) -> Json:
    return {
        "how": REVOKE.format(release=story.statement.release),
        "who": "one person with the RBAC verb revoke on a role of the policy is enough",
        "effect": "its route is closed at once and for good, whether or not the ledger can be written; the record follows",
        "otherwise": "a route with track Pinned leads to an earlier approved release at once",
    }
