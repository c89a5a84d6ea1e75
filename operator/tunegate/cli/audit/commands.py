"""`audit verify|export|powers`, `evidence export|verify` and what they take."""

from __future__ import annotations

from argparse import ArgumentParser

from tunegate.cli import completion, oci_registry, times
from tunegate.cli.audit import audit, evidence
from tunegate.cli.grammar import Grammar, on_cluster
from tunegate.cli.reference import RELEASE


def add(commands: Grammar) -> None:
    """Add the commands."""
    actions = commands.group("audit", "check the ledger, take it along, or ask it who could get around the rules")
    _verify_ledger(actions)
    _export_ledger(actions)
    _powers(actions)
    actions = commands.group("evidence", "take a release along as a folder, and verify it anywhere")
    _export_evidence(actions)
    _verify_evidence(actions)


def _verify_ledger(actions: Grammar) -> None:
    one = actions.add(
        "verify", audit.verify, "check that the ledger is whole, and that what it speaks of still exists: 0 yes, 1 no",
        examples=["audit verify", "audit verify --file ledger/records.jsonl --public-key ledger-key.pem"],
    )  # fmt: skip
    _file(one)
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


def _export_ledger(actions: Grammar) -> None:
    one = actions.add(
        "export", on_cluster(audit.export), "write records, checkpoints, approvals and releases into a new folder",
        examples=["audit export ledger"],
    )  # fmt: skip
    one.add_argument("folder", metavar="FOLDER", help="is made; it may not exist")


def _powers(actions: Grammar) -> None:
    one = actions.add(
        "powers", audit.powers, "tell who could get around the rules, by the ledger",
        examples=["audit powers", "audit powers --at 2026-11-24T12:00:00Z --file ledger/records.jsonl"],
    )  # fmt: skip
    _file(one)
    one.add_argument("--at", metavar="TIME", type=times.moment, help="then instead of now")


def _file(one: ArgumentParser) -> None:
    one.add_argument("--file", metavar="FILE", help="exported records: no cluster and no network is needed")


def _export_evidence(actions: Grammar) -> None:
    one = actions.add(
        "export", on_cluster(evidence.export), "write all that a release was approved on into one folder",
        examples=["evidence export release/holders-1 holders-1 -n licenses-team"],
    )  # fmt: skip
    completion.add_reference(one, (RELEASE,), "release", "RELEASE")
    one.add_argument("folder", metavar="FOLDER", help="new or empty")
    oci_registry.add_options(one, "Where statement, results and adapter lie")


def _verify_evidence(actions: Grammar) -> None:
    one = actions.add(
        "verify", evidence.verify, connects=False,
        text="check such a folder without cluster and network: 0 it fits, 1 it differs, 2 it cannot be read",
        examples=["evidence verify holders-1 --digest sha256:" + "0" * 64 + " --public-key ledger-key.pem"],
    )  # fmt: skip
    one.add_argument("folder", metavar="FOLDER")
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
