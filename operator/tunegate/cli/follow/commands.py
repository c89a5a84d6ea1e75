"""`wait` and `logs`, and what they take."""

from __future__ import annotations

from typing import get_args

from tunegate.api.finetunejob.status import StageName
from tunegate.cli import completion, times
from tunegate.cli.follow import logs, wait
from tunegate.cli.grammar import Grammar, on_cluster
from tunegate.cli.reference import JOB, RELEASE, SERVER

KINDS = (RELEASE, JOB, SERVER)


def add(commands: Grammar) -> None:
    """Add the commands."""
    one = commands.add(
        "wait", wait.wait,
        "wait for a phase or a condition: 0 it is there, 1 it cannot come any more, 3 the time is over",
        examples=[
            "wait job/holders --for phase=Succeeded --timeout 12h -n licenses-team",
            "wait release/holders-1 --for condition=EvidenceComplete",
        ],
    )  # fmt: skip
    completion.add_reference(one, KINDS)
    one.add_argument(
        "--for", dest="awaited", metavar="WHAT", type=wait.awaited, required=True,
        help="phase=PHASE, condition=TYPE or condition=TYPE=STATUS",
    )  # fmt: skip
    one.add_argument("--timeout", metavar="TIME", type=times.seconds, default="1h", help="e.g. 90s or 12h; default: 1h")

    one = commands.add(
        "logs", on_cluster(logs.logs), "print what the pods of a job's stage say; needs the right to read pods/log",
        examples=["logs job/holders -f -n licenses-team", "logs job/holders --stage Train"],
    )  # fmt: skip
    completion.add_reference(one, (JOB,), metavar="job/NAME")
    one.add_argument(
        "--stage",
        type=str.capitalize,
        choices=get_args(StageName),
        help="its last attempt; default: the stage whose pods are newest",
    )
    one.add_argument("-f", "--follow", action="store_true", help="go on until the pod ends")
