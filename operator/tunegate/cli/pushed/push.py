"""`data push`: check, send what is not there yet, complete."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from pathlib import Path

from pydantic import ValidationError

from tunegate.api.pushed import NAME, Declaration, PushedKind
from tunegate.cli import job_obstacles, screen
from tunegate.cli.cluster import Json
from tunegate.cli.exchange import address
from tunegate.cli.failure import WrongUsage
from tunegate.cli.local_files import check_rows, chosen
from tunegate.cli.pushed.listing import namespace_of
from tunegate.cli.sending import send
from tunegate.errors import wrong_fields


def push(kind: PushedKind, options: Namespace) -> int:
    """Push files and print their address. Raises ``CommandFailure``."""
    found = chosen(kind, options.files)
    name = options.name or _default_name(found[0].path if len(found) == 1 else Path(options.files[0]).resolve().name)
    try:
        NAME.validate_python(name)
    except ValidationError:
        raise WrongUsage(
            f"--name {name}: at most 40 lower-case letters, digits and hyphens, none at its ends but letters and digits"
        ) from None
    declaration = _declaration(options)
    if kind == "datasets" and not options.unchecked:
        rows, form = check_rows(found)
        print(f"{rows} rows of form {form}", file=sys.stderr)
    if kind == "datasets":
        for message in job_obstacles.refused_by_policy(options, declaration):
            print(f"warning: {screen.shown(message)}", file=sys.stderr)
    recorded = send(kind, found, name, namespace_of(options), declaration, address(options))
    _print(kind, recorded, options.output)
    return 0


def _declaration(options: Namespace) -> Declaration:
    said = {name: getattr(options, name) for name in ("classification", "license", "source", "steward")}
    try:
        return Declaration.model_validate({**said, "expirationDate": options.expires})
    except ValidationError as error:
        raise WrongUsage(
            f"{wrong_fields(error)}. Each is one line that is not empty; --expires is a day as YYYY-MM-DD"
        ) from None


def _default_name(path: str) -> str:
    """Return a name made of a file's."""
    stem = path.rpartition("/")[2].split(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40].strip("-")


def pasted(kind: PushedKind, recorded: Json) -> Json:
    """Return the part of a job's spec that names what was pushed."""
    if kind == "documents":
        return {"baseline": {"documents": {"uri": recorded["uri"]}}}
    return {"dataset": {"uri": recorded["uri"], **recorded["declaration"]}}


def _print(kind: PushedKind, recorded: Json, output: str) -> None:
    if output == "json":
        screen.write(recorded, "json")
    elif output == "yaml":
        screen.write(pasted(kind, recorded), "yaml")
    else:
        print(recorded["uri"])
        others = _repeated(kind)
        print(f"Paste it into {others} of your job; -o yaml prints the whole part.", file=sys.stderr)


def _repeated(kind: PushedKind) -> str:
    return (
        "spec.baseline.documents.uri"
        if kind == "documents"
        else "spec.dataset.uri, with the same class, license, source and steward,"
    )
