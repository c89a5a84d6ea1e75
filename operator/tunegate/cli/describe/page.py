"""One page on which a reviewer decides: the parts of a release's dossier in words and tables."""

from __future__ import annotations

from rich.console import Console

from tunegate.api.evaluationsuite import told_outcome
from tunegate.api.shared import SuiteTries
from tunegate.cli import decisions, screen
from tunegate.cli.cluster import Json
from tunegate.cli.describe.changes import UNKNOWN
from tunegate.cli.describe.words import spelled, text_of

HIDDEN = frozenset({"uid", "conditions", "job", "jobRequestedBy", "created", "name", "phase", "message"})
LATER = {
    "data": ("digest", "redactedDigest", "statementDigest", "uri", "mlflowRun", "mlflowPage"),
    "evaluation": ("suiteDigest", "documentsDigest", "resultDigest"),
    "baseModel": ("manifestDigest", "engineProfileDigest"),
}
"""Told below what decides, by part of the document."""
TITLES = {"data": "data", "evaluation": "evaluation", "baseModel": "base model"}


def print_page(out: Console, document: Json) -> None:
    """Print the page: what decides comes first."""
    release = document["release"]
    screen.heading(out, release["name"], release["phase"])
    if release["message"]:
        out.print(f"  {screen.shown(release['message'])}")
    _section(out, "What is asked", {key: value for key, value in release.items() if key not in HIDDEN})
    _changes(out, document["servingNow"])
    _scores(out, _first(document, "evaluation"))
    _section(out, "Data", _first(document, "data"))
    _findings(out, document)
    _section(out, "Base model", _first(document, "baseModel"))
    _decisions(out, document)
    _section(out, "Runs now", document["running"])
    _later(out, document)
    _section(out, "Training", document["training"])
    _section(out, "Adapter", document["adapter"])
    _conditions(out, release["conditions"])
    _proof(out, document)


def _section(out: Console, title: str, part: Json) -> None:
    screen.heading(out, title)
    screen.facts(out, [(spelled(key), text_of(value)) for key, value in part.items()])


def _first(document: Json, part: str) -> Json:
    """Return a part without what stands further below."""
    return {key: value for key, value in document[part].items() if key not in LATER[part]}


def _later(out: Console, document: Json) -> None:
    """Print digests and places: one compares them, but decides by nothing in them."""
    screen.heading(out, "Digests and places")
    known = [(part, key) for part, keys in LATER.items() for key in keys if key in document[part]]
    rows = [(f"{TITLES[part]}: {spelled(key)}", text_of(document[part][key])) for part, key in known]
    screen.facts(out, rows)


def _findings(out: Console, document: Json) -> None:
    """Print what people answered for, and what the checks found beside it."""
    waiver, found = document["waiver"], document.get("findings")
    _section(out, "Waived findings", waiver)
    if found is None:
        screen.heading(out, "Other findings")
        name = document["release"]["name"].partition("/")[2]
        out.print(
            f"  not read: they lie in the registry; name it with --registry, or look with: tunegate inspect data release/{name}"
        )
    elif isinstance(found, dict):
        _section(out, "Other findings", found)
    else:
        screen.heading(out, "Findings of the checks", "" if found else "none")
        rows = [(one["action"], one["check"], one["message"]) for one in found]
        if rows:
            screen.table(out, ("action", "check", "what was found"), rows, indent=2)


def _scores(out: Console, part: Json) -> None:
    """Print the tuned model against each alternative, with the number of questions and the margin."""
    if "note" in part:
        _section(out, "Evaluation", part)
        return
    screen.heading(out, "Evaluation", part["outcome"])
    told = ("outcome", "alternatives", "guardrails")
    screen.facts(out, [(spelled(key), text_of(value)) for key, value in part.items() if key not in told])
    rows = [
        (
            one["name"],
            one["score"],
            one["difference"],
            f"{one['lower']} to {one['upper']}",
            told_outcome(one["name"], one["outcome"], one.get("answered"), part["questions"]),
        )
        for one in part["alternatives"]
    ]
    if rows:
        screen.table(out, ("tuned against", "score", "tuned is better by", "95 % interval", "verdict"), rows, indent=2)
    held = [
        (one["name"], one["tuned"], one["base"], "held" if one["held"] else "not held") for one in part["guardrails"]
    ]
    if held:
        screen.table(out, ("guardrail", "tuned", "base", "verdict"), held, indent=2)


def _changes(out: Console, part: Json) -> None:
    if "changes" not in part:
        _section(out, "Changes against what serves now", part)
        return
    rows = [(one["what"], one["then"], one["now"]) for one in part["changes"]]
    unseen = [what for what, *sides in rows if sides == [UNKNOWN, UNKNOWN]]
    rows = [row for row in rows if row[0] not in unseen]
    rest = f"{part['servedName']} of release {part['release']}"
    screen.heading(out, "Changes against what serves now,", rest)
    if rows:
        screen.table(out, ("what", "serves now", "this release"), rows, indent=2)
    if "policy" in unseen:
        out.print("  policy: you may not read it; it stands in the ledger and in the statements in the registry")
        unseen.remove("policy")
    if unseen:
        out.print(f"  not compared, for a job or suite is gone or you may not read it: {', '.join(unseen)}")
    out.print(f"  {'nothing else differs' if part['changes'] else 'nothing differs'}")


def _decisions(out: Console, document: Json) -> None:
    """Print who decided what, what does not count and why, and who is waited for."""
    quorum = document["quorum"]
    decisions.print_table(out, quorum["counted"], document["approvals"])
    if document["override"] is not None:
        screen.heading(out, "Override: served without its quorum", document["override"].get("outcome") or "in force")
        told = {key: value for key, value in document["override"].items() if key not in ("counted", "outcome")}
        screen.facts(out, [(spelled(key), text_of(value)) for key, value in told.items()])
    decisions.print_missing(out, quorum["missing"])


def _conditions(out: Console, conditions: Json) -> None:
    if conditions:
        screen.heading(out, "Conditions")
        screen.facts(out, list(conditions.items()))


def _proof(out: Console, document: Json) -> None:
    """Print what holds the page: the ledger's records and the statement."""
    ledger = document["ledger"]
    records = ledger if isinstance(ledger, list) else []
    screen.heading(out, "Ledger", "" if records else "no record yet" if ledger == [] else ledger["note"])
    rows = [
        (str(one["sequence"]), one["time"], one["type"], one["actor"], one["payload"].get("decision", ""))
        for one in records
    ]
    if rows:
        screen.table(out, ("record", "at", "what", "by", ""), rows, indent=2)
    if "statement" in document:
        screen.heading(out, "Statement")
        out.print("  verified: the stored statement has the release's digest; -o json shows it whole")
        content = document["statement"]["content"]
        policy, gate = content["policy"], content["evaluation"]
        told = [("policy", f"{policy['name']} {policy['digest']}"), ("margin of the gate", gate["margin"])]
        screen.facts(
            out, [*told, ("tries on the questions by then", SuiteTries.model_validate(gate["suiteTries"]).told())]
        )
