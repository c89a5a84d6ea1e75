"""What comes after `init`: the commands that take its files, each only where it can work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from tunegate.cli.create import init_split
from tunegate.cli.create.init_yaml import Said
from tunegate.manifests.sources import ClaimPath, HubPath, data_path, model_path

FOLDER = "…"
"""Stands for a folder of the person's machine."""


def commands(said: Said, folder: Path) -> Iterator[str]:
    """Yield the commands in their order. ``said``: with nothing left to be filled in."""
    options = said.options
    same = [
        word for name in ("kubeconfig", "context") if (value := getattr(options, name)) for word in (f"--{name}", value)
    ]
    if not options.suite:
        questions = folder / init_split.QUESTIONS if options.split else options.questions
        yield _line("create suite", "-f", str(folder / "suite.yaml"), "--from", str(questions), *same)
    job = ("-f", str(folder / "job.yaml"))
    places = _places(said)
    if places is not None and said.site.policy:
        volumes = [word for place in places for word in ("--volume", f"{place}={FOLDER}")]
        yield _line("plan", *job, "--from-cluster", "--policy", said.site.policy.name, *volumes, *same)
    yield _line("create job", *job, *same)


def _places(said: Said) -> list[str] | None:
    """Return the claims and models that `plan` needs a folder of; None: it cannot work, or not all of them are known.

    Pushed data is fetched, which people who ask for jobs may not; data in a store is not read.
    """
    if said.site.base is None or (said.options.suite and said.site.suite is None):
        return None
    suite = said.site.suite.spec.data.uri if said.site.suite else said.options.questions_uri
    try:
        data = data_path(said.place(said.options.uri, "train.jsonl") or "")
        paths = [data, model_path(said.site.base.spec.source), *([data_path(suite)] if suite else [])]
    except ValueError:  # an address of no form that there is, which `create` refuses with the form
        return None
    if not isinstance(data, ClaimPath):
        return None
    named = [
        path.repository if isinstance(path, HubPath) else path.claim
        for path in paths
        if isinstance(path, HubPath | ClaimPath)
    ]
    return list(dict.fromkeys(named))


def _line(command: str, *words: str) -> str:
    return " ".join(["tunegate", command, *(word if FOLDER in word else shlex.quote(word) for word in words)])
