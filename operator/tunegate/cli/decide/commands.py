"""`approve`, `reject`, `withdraw`, `revoke`, `override` and what they take."""

from __future__ import annotations

from argparse import ArgumentParser

from tunegate.api.approval import REASON_LIMIT, REASON_MINIMUM
from tunegate.cli import completion, times
from tunegate.cli.decide import decide, signing
from tunegate.cli.decisions import LIVES
from tunegate.cli.grammar import Grammar, on_cluster
from tunegate.cli.reference import JOB, RELEASE

KINDS = (RELEASE, JOB)
DECISIONS = {
    "approve": "agree to exactly the shown content, or waive the findings that a job waits for",
    "reject": "say no, for good: the release is denied, or the job ends",
    "withdraw": "take back your own approval or override",
    "revoke": "stop a release at once, for good: its route closes",
    "override": "break the glass: have a release served for a time although its quorum is missing",
}


def add(commands: Grammar) -> None:
    """Add the commands."""
    for name, text in DECISIONS.items():
        examples = [f'{name} release/holders-1 -n licenses-team --reason "Why, in a sentence."']
        if name not in ("revoke", "override"):
            examples.append(f'{name} job/holders --reason "Why, in a sentence."')
        _options(commands.add(name, on_cluster(decide.decide), text, examples=examples), name.capitalize())


def _options(one: ArgumentParser, decision: str) -> None:
    one.set_defaults(decision=decision, expires=None)
    # A job is refused with the reason by the commands that are for releases only.
    completion.add_reference(one, KINDS)
    one.add_argument("--role", help="role of the policy; default: the only one that you hold")
    least = "" if decision == "Approve" else f"at least {REASON_MINIMUM}, "
    one.add_argument("--reason", required=True, help=f"kept forever; {least}at most {REASON_LIMIT} characters")
    if decision in LIVES:
        text = "e.g. 24h or 7d; default: what the policy allows"
        one.add_argument("--expires", metavar="TIME", type=times.seconds, help=text)
    one.add_argument("--digest", help="refuse unless this is the present digest")
    one.add_argument("--yes", action="store_true", help="do not ask")
    signing.add_options(one)
