"""The commands and their options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunegate.api.approval import REASON_LIMIT, REASON_MINIMUM
from tunegate.cli import completion, listing, registry, screen
from tunegate.cli.audit import audit, evidence
from tunegate.cli.cluster import Cluster
from tunegate.cli.data import answers, answers_page, data
from tunegate.cli.decide import decide, signing
from tunegate.cli.decisions import LIVES
from tunegate.cli.doctor import doctor
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.cli.show import show, who
from tunegate.cli.submit import plan, plan_report, submit

Command = Callable[[Cluster, argparse.Namespace], int]
RELEASE_OR_JOB = "name of a release, or job/NAME"
PLAN = "check a job's data, cost and limits on this machine, without a cluster"
LISTS: dict[str, tuple[Command, str]] = {
    "releases": (listing.releases, "list releases: how they stand and whom they wait for"),
    "jobs": (listing.jobs, "list jobs: how they stand and whom they wait for"),
    "servers": (listing.servers, "list servers: how they stand and what answers under which name"),
}
DECISIONS = {
    "approve": "agree to exactly the shown content, or waive the findings that a job waits for",
    "reject": "say no, for good: the release is denied, or the job ends",
    "withdraw": "take back your own approval or override",
    "revoke": "stop a release at once, for good: its route closes",
    "override": "break the glass: have a release served for a time although its quorum is missing",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 refused or failed, 2 wrong usage."""
    grammar = parser()
    completion.complete(grammar)
    options = grammar.parse_args(arguments)
    try:
        if getattr(options, "file", None) is not None:
            return audit.audit(None, options)
        if getattr(options, "offline", None) is not None:
            return int(options.offline(options))
        command: Command = options.command
        return command(Cluster.of(options), options)
    except CommandFailure as error:
        print(f"tunegate: {error}{_where(error, options)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _where(error: CommandFailure, options: argparse.Namespace) -> str:
    """Return a hint for who named no namespace and may not look into that of the kubeconfig."""
    unnamed = isinstance(error, Forbidden) and not options.namespace and "in the namespace" in str(error)
    return ". If you mean another namespace: name it with -n" if unnamed else ""


def kubectl_complete() -> int:
    """Complete `kubectl tunegate …`: the program that kubectl looks for."""
    return completion.kubectl_complete(parser(), sys.argv[1:])


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    plugin = Path(sys.argv[0]).name.startswith(completion.PLUGIN)
    name = completion.PLUGIN.replace("-", " ") if plugin else completion.PROGRAM
    top = argparse.ArgumentParser(prog=name, description="Governed fine-tuning: submit, review, look, verify.")
    _connection(top, default=None)
    # The same options after the command's name, without overwriting what came before it.
    shared = argparse.ArgumentParser(add_help=False)
    _connection(shared, default=argparse.SUPPRESS)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[shared])
        sub.set_defaults(command=command)
        return sub

    one = add("submit", submit.submit, "create jobs and releases from YAML, in your name")
    one.add_argument("-f", "--filename", required=True, help="YAML file; - reads standard input")
    one.add_argument("--dry-run", action="store_true", help="let the server check, create nothing")
    _plan(commands.add_parser("plan", help=PLAN, description=PLAN[0].upper() + PLAN[1:] + "."))
    for name, (listed, text) in LISTS.items():
        one = add(name, listed, text)
        one.add_argument("-A", "--all-namespaces", action="store_true")
        _output(one)
    _show(add("show", show.show, "show one release, job or server in full: the page to decide on"))
    _who(add("who", who.who, "what data, base, evaluation, people and bytes are behind a name that clients use"))
    _release(add("release", submit.release, "ask to serve a job's adapter"))
    for name, text in DECISIONS.items():
        _decision(add(name, decide.decide, text), name)
    _data(add("data", data.data, "what was stated and found of a job's training data"))
    _answers(
        add("answers", answers.answers, "questions of the gate: what was expected, what was answered, right or wrong")
    )
    _evidence(commands, shared)
    _audit(add("audit", audit.audit, "check the ledger, export it, or ask it who could get around the rules"))
    _doctor(add("doctor", doctor.doctor, "what holds in this cluster: rules, rights, duties, ledger"))
    _completion(commands)
    return top


def _connection(one: argparse.ArgumentParser, default: object) -> None:
    one.add_argument("-n", "--namespace", default=default, help="default: that of the kubeconfig's context")
    one.add_argument("--kubeconfig", default=default)
    one.add_argument("--context", default=default)
    one.add_argument("--as", dest="as_", metavar="USER", default=default, help="impersonate (needs the right to)")
    one.add_argument("--as-group", action="append", metavar="GROUP", default=default)


def _plan(one: argparse.ArgumentParser) -> None:
    one.set_defaults(offline=plan.plan)
    one.add_argument("-f", "--filename", required=True, help="YAML file of the job, or a folder of YAML files")
    one.add_argument(
        "--with", dest="with_", action="append", metavar="PATH",
        help="file or folder with the server, base model, pool, suite and policy; may be given again",
    )  # fmt: skip
    one.add_argument(
        "--volume",
        action="append",
        metavar="CLAIM=FOLDER",
        help="where a claim of pvc://CLAIM/…, or a model of hf://ORG/NAME@…, lies on this machine",
    )
    one.add_argument("-o", "--output", choices=list(plan_report.FORMATS), default="text")
    one.add_argument("--strict", action="store_true", help="warnings count as a refusal")
    one.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _release(one: argparse.ArgumentParser) -> None:
    completion.completed(one.add_argument("job"), completion.JOBS)
    one.add_argument("--model", required=True, help="public model name, as routes and clients know it")
    one.add_argument("--intended-use", required=True, help="what it is for and what it must not be used for")
    one.add_argument("--risk", required=True, choices=["Low", "Medium", "High"])
    one.add_argument("--name", help="name of the release; default: the job's")
    one.add_argument("--dry-run", action="store_true", help="let the server check, create nothing")


def _decision(one: argparse.ArgumentParser, name: str) -> None:
    one.set_defaults(decision=name.capitalize())
    waiver = "" if name in ("revoke", "override") else ", or job/NAME for a job that waits for a waiver"
    completion.completed(one.add_argument("name", help=f"name of the release{waiver}"), completion.DECIDABLE)
    one.add_argument("--role", help="role of the policy; default: the only one that you hold")
    least = "" if name == "approve" else f"at least {REASON_MINIMUM}, "
    one.add_argument("--reason", required=True, help=f"kept for ever; {least}at most {REASON_LIMIT} characters")
    one.set_defaults(expires=None)
    if name.capitalize() in LIVES:
        text = "e.g. 24h or 7d; default: what the policy allows"
        one.add_argument("--expires", metavar="TIME", type=_lifetime, help=text)
    one.add_argument("--digest", help="refuse unless this is the present digest")
    one.add_argument("--yes", action="store_true", help="do not ask")
    signing.add_options(one)


def _output(one: argparse.ArgumentParser) -> None:
    one.add_argument("-o", "--output", choices=screen.FORMATS, default="text", help="json and yaml are for programs")


def _show(one: argparse.ArgumentParser) -> None:
    completion.completed(
        one.add_argument("name", help="name of a release, job/NAME or server/NAME"), completion.SHOWABLE
    )
    _output(one)
    registry.add_options(one, "also read findings and the release statement there, verified")


def _who(one: argparse.ArgumentParser) -> None:
    completion.completed(
        one.add_argument("name", help="route, served name (header X-Tunegate-Served-Name) or release"),
        completion.answering,
    )
    one.add_argument("--at", metavar="TIME", type=who.moment, help="then instead of now; from the ledger")
    _output(one)


def _doctor(one: argparse.ArgumentParser) -> None:
    one.add_argument("--system-namespace", default="tunegate-system", help="where the operator runs")
    one.add_argument("--rules", metavar="FILE", help="admission rules to compare with; default: the operator's own")
    _output(one)


def _completion(commands: Any) -> None:
    text = "print the script that completes commands and names in a shell"
    one = commands.add_parser("completion", help=text, description=text[0].upper() + text[1:] + ".")
    one.set_defaults(offline=completion.completion)
    one.add_argument("shell", choices=completion.SHELLS)


def _evidence(commands: Any, shared: argparse.ArgumentParser) -> None:
    text = "take a release along as a folder, and verify it anywhere"
    actions = commands.add_parser("evidence", help=text, description=text[0].upper() + text[1:] + ".").add_subparsers(
        required=True, metavar="ACTION"
    )
    text = "write all that a release was approved on into one folder"
    one = actions.add_parser("export", help=text, description=text[0].upper() + text[1:] + ".", parents=[shared])
    one.set_defaults(command=evidence.export)
    completion.completed(one.add_argument("name", help="name of the release"), completion.RELEASES)
    one.add_argument("--output", required=True, metavar="FOLDER", help="new or empty")
    registry.add_options(one, "where statement, results and adapter lie", required=True)
    text = "check such a folder without cluster and network: 0 it fits, 1 it differs, 2 it cannot be read"
    one = actions.add_parser("verify", help=text, description=text[0].upper() + text[1:] + ".")
    one.set_defaults(offline=evidence.verify)
    one.add_argument("folder")
    one.add_argument(
        "--digest", metavar="DIGEST", type=evidence.digest, help="release digest noted earlier, sha256:<hex>"
    )
    one.add_argument(
        "--head", metavar="HEAD", type=evidence.head, help="ledger head noted earlier, <sequence>:sha256:<hex>"
    )
    one.add_argument(
        "--index", metavar="DIGEST", type=evidence.digest, help="index noted when the folder was written, sha256:<hex>"
    )
    one.add_argument(
        "--public-key", action="append", metavar="FILE",
        help="the operator's key, from a source other than the folder: is all of it signed? after a rotation any one",
    )  # fmt: skip
    one.add_argument(
        "--approver-keys", metavar="FOLDER",
        help="public keys of approvers that you collected yourself, NAME.pem each: what was counted must be signed with them",
    )  # fmt: skip


def _data(one: argparse.ArgumentParser) -> None:
    completion.completed(one.add_argument("name", help=RELEASE_OR_JOB), completion.DECIDABLE)
    one.add_argument(
        "-o", "--output", choices=data.FORMATS, default="text",
        help="croissant: JSON-LD for catalogues of data; html: the page, which shows rows",
    )  # fmt: skip
    registry.add_options(one, "where the statement lies", required=True)


def _answers(one: argparse.ArgumentParser) -> None:
    completion.completed(one.add_argument("name", help=RELEASE_OR_JOB), completion.DECIDABLE)
    one.add_argument("--against", metavar="ARM", help="alternative to show beside the tuned model; default: the best")
    one.add_argument("--all", action="store_true", help=f"all questions, not the first {answers_page.FIRST}")
    one.add_argument("--full", action="store_true", help="whole texts, and all turns of a question")
    one.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="json: everything, one line for each question"
    )
    registry.add_options(one, "where the answers lie", required=True)


def _audit(one: argparse.ArgumentParser) -> None:
    one.add_argument("action", choices=["verify", "export", "powers"])
    one.add_argument("folder", nargs="?", metavar="FOLDER", help="for export: the folder to make")
    one.add_argument("--file", metavar="FILE", help="exported records: no cluster and no network is needed")
    one.add_argument("--objects", metavar="FILE", help="with --file: exported approvals and releases to compare with")
    one.add_argument(
        "--public-key", action="append", metavar="FILE",
        help="key that signs checkpoints, from a source other than the records; after a rotation the newest",
    )  # fmt: skip
    one.add_argument("--anchors", action="append", metavar="DIR", help="folder of checkpoints that were kept elsewhere")
    one.add_argument(
        "--tsa-certificate", action="append", metavar="FILE",
        help="with --anchors: the time stamping authority's certificate and those above it, to check the .tsr files there",
    )  # fmt: skip
    one.add_argument("--head", metavar="HEAD", help="head noted earlier, <sequence>:sha256:<hex>")
    one.add_argument("--at", metavar="TIME", type=who.moment, help="for powers: who held which then instead of now")


def _lifetime(text: str) -> str:
    try:
        decide.lifetime(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
