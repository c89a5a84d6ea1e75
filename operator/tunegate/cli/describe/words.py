"""Values of the API in the words of a page."""

from __future__ import annotations

from typing import Any

SPELLED = {
    "modelName": "model name", "intendedUse": "intended use", "requestedBy": "requested by", "servedName": "served name",
    "expirationDate": "may be used until", "redactedDigest": "redacted copy", "statementDigest": "data statement",
    "overlapRows": "rows shared with suites", "manifestDigest": "manifest", "engineProfileDigest": "engine profile",
    "suiteDigest": "suite digest", "suiteMargin": "margin asked for", "suiteMinimum": "minimum asked for",
    "suiteTries": "tries on these questions", "resultDigest": "result", "jobRequestedBy": "job requested by", "contributors": "job contributors",
    "pushedBy": "pushed by",
    "mlflowRun": "MLflow run", "mlflowPage": "MLflow page", "answersAs": "answers as", "approvedBy": "approved by", "askedAs": "asked with",
    "maxTokens": "max_tokens", "systemPrompt": "system prompt", "documentsDigest": "documents",
}  # fmt: skip


def spelled(key: str) -> str:
    """Return a key of the document in words."""
    return SPELLED.get(key, key)


def text_of(value: Any) -> str:
    """Return a value of the document on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{spelled(key)} {text_of(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(text_of(one) for one in value) or "-"
    return "-" if value is None else str(value)
