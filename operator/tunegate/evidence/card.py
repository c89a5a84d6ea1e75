"""`model-card.md`: the card as Hugging Face's hub reads it, metadata in front, from nothing but the evidence.

Source: https://huggingface.co/docs/hub/model-cards. Written by hand, so that the command line needs no hub library; a test
lets that library read it.
"""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from tunegate.api.evaluationsuite import told_outcome
from tunegate.api.numbers import count_of
from tunegate.evidence.risk import NOT_COVERED, REVOKE
from tunegate.evidence.story import Subject

Json = dict[str, Any]


def model_card(about: Subject) -> str:
    """Return the card."""
    front = yaml.safe_dump(metadata(about), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(about)) + "\n"


def metadata(about: Subject) -> Json:
    """Return the card's metadata. Nobody states a license for the adapter itself, so the card states none either."""
    statement, result = about.statement, about.evaluation
    name = statement.release.spec.model_name
    suite = {
        "type": "tunegate-suite",
        "name": statement.evaluation.suite,
        "revision": statement.evaluation.suite_digest,
    }
    metrics = [
        {"type": metric, "name": metric, "value": value, "verified": False} for metric, value in result.tuned.items()
    ]
    task = {"type": "text-generation"}
    return {
        "license": "other",
        "license_name": "not-stated",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "base_model": statement.base_model.name,
        "base_model_relation": "adapter",
        "tags": ["lora", "tunegate"],
        "metrics": list(result.tuned),
        "model-index": [{"name": name, "results": [{"task": task, "dataset": suite, "metrics": metrics}]}],
    }


def _sections(about: Subject) -> list[str]:
    statement = about.statement
    spec, base, data, files = statement.release.spec, statement.base_model, statement.data, about.files
    return [
        f"# {spec.model_name}",
        f"A LoRA adapter for `{base.name}`, released as `{statement.release.namespace}/{statement.release.name}`.",
        "## Intended use",
        textwrap.indent(spec.intended_use, "    "),
        f"Risk, as stated by the requester: {spec.risk}.",
        "## Training data",
        _items({
            "Source": data.source, "License": data.license, "Class": data.classification,
            "Steward": data.steward or "nobody named", "Rows": str(data.rows), "Digest": data.digest,
            "Trained on a redacted copy": data.redacted_digest or "no",
            "Findings": ", ".join(f"{one.check} ({one.action}, {one.count})" for one in about.data.findings) or "none",
            "Waived": ", ".join(one.check for one in statement.job.waiver.findings) if statement.job.waiver else "nothing",
        }),
        "## Training",
        _items(about.training.hyperparameters if about.training else {"Source": "the adapter was made elsewhere"}),
        "## Evaluation",
        _evaluation(about),
        "## Limits",
        f"Not covered by the evaluation: {'; '.join(NOT_COVERED)}. `risk.json` says what was looked at.",
        "## Stopping it",
        f"`{REVOKE.format(release=statement.release)}` closes its route for good.",
        "## Versions",
        _items({
            "Release": about.digest, "Adapter": statement.adapter.digest,
            "Base model": f"{base.manifest_digest}, license {base.license}, publisher {base.publisher or 'not named'}",
            "Engine": statement.engine.profile.image, "Files": ", ".join(entry.path for entry in files),
        }),
    ]  # fmt: skip


def _evaluation(about: Subject) -> str:
    stated, result = about.statement.evaluation, about.evaluation
    lines = [
        f"Suite `{stated.suite}`, {result.questions} questions, tried {count_of(stated.suite_tries.total, 'time')} by then. "
        f"The gate: {result.outcome}, {result.metric} {stated.tuned}, with a margin of {stated.margin} over each alternative.",
        "",
        "| alternative | score | difference | 95 % | outcome |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {arm.name} | {arm.score:.4f} | {arm.difference:+.4f} | {arm.lower:.4f} to {arm.upper:.4f} | "
        f"{told_outcome(arm.name, arm.outcome, arm.answered, result.questions)} |"
        for arm in result.arms
    ]
    return "\n".join(lines)


def _items(facts: dict[str, str]) -> str:
    """Return a list whose values are shown as they are: what people wrote is never read as Markdown."""
    return "\n".join(f"- {name}: {quoted(value)}" for name, value in facts.items())


def quoted(text: str) -> str:
    """Return text as code of one line."""
    return "`" + " ".join(text.split()).replace("`", "'") + "`"
