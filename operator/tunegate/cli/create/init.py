"""`init`: a first job and suite from a file of rows and what the cluster has, as commented YAML. It creates nothing."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from tunegate.cli.cluster import Cluster
from tunegate.cli.create import init_split, init_yaml, suite_trial
from tunegate.cli.create.init_next import commands
from tunegate.cli.create.init_site import Site, read_site
from tunegate.cli.create.suite_spec import proposed_metric, proposed_task
from tunegate.cli.failure import CommandFailure, WrongUsage


def init(options: Namespace) -> int:
    """Write the files, and say what they say and what is still missing."""
    if options.suite and (options.questions or options.split):
        raise WrongUsage("--suite names questions that are there already: leave out --questions and --split")
    if options.questions and options.split:
        raise WrongUsage("--questions and --split are two ways to the questions: give one")
    if options.split is not None and options.split < 1:
        raise WrongUsage("--split takes a number of questions, 1 or more")
    folder = Path(options.folder or options.name)
    names = ["job.yaml"] + ([] if options.suite else ["suite.yaml"])
    names += [init_split.TRAINING, init_split.QUESTIONS] if options.split else []
    if there := [str(folder / name) for name in names if (folder / name).exists()]:
        raise CommandFailure(f"{', '.join(there)}: exists already, and nothing was written. Give another --folder")
    rows = suite_trial.read(options.from_)
    site = Site() if options.offline else _site(options)
    folder.mkdir(parents=True, exist_ok=True)
    training, questions = rows, None
    if options.split:
        split = init_split.split(Path(options.from_), rows.rows, options.split, options.group_field, folder)
        training, questions = (
            suite_trial.read(str(folder / name)) for name in (init_split.TRAINING, init_split.QUESTIONS)
        )
        print(
            f"{split.questions} questions were split off into {folder / init_split.QUESTIONS}; the other {split.training} rows are in "
            f"{folder / init_split.TRAINING}, which is what to train on. {options.from_} is unchanged: do not train on it, since it "
            "has the questions too",
            file=sys.stderr,
        )
    elif options.questions:
        questions = suite_trial.read(options.questions)
    task = options.task or proposed_task(rows.answers)
    said = init_yaml.Said(
        options=options, site=site, task=task, metric=options.metric or proposed_metric(task),
        training=training, questions=questions, namespace=options.namespace or site.namespace,
    )  # fmt: skip
    written = {"job.yaml": init_yaml.job(said), **({} if options.suite else {"suite.yaml": init_yaml.suite(said)})}
    for name, text in written.items():
        with (folder / name).open("x") as file:
            file.write(text)
        print(folder / name)
    _tell(said, folder, written)
    return 0


def _site(options: Namespace) -> Site:
    try:
        return read_site(Cluster.of(options), options)
    except WrongUsage:
        raise
    except CommandFailure as error:
        raise CommandFailure(
            f"{error}. Without a cluster: --offline leaves what it would say to be filled in"
        ) from error


def _tell(said: init_yaml.Said, folder: Path, written: dict[str, str]) -> None:
    """Say what is missing, and what comes next."""
    for note in said.site.notes:
        print(f"note: {note}", file=sys.stderr)
    missing = [
        f"{name}: {line.partition(init_yaml.REPLACE)[2].strip()}"
        for name, text in written.items()
        for line in text.splitlines()
        if init_yaml.REPLACE in line
    ]
    if missing:
        print(f"\nStill to be filled in, marked with `{init_yaml.REPLACE.strip()}`:", file=sys.stderr)
        for line in missing:
            print(f"  {line}", file=sys.stderr)
        return
    print("\nNext:", file=sys.stderr)
    for command in commands(said, folder):
        print(f"  {command}", file=sys.stderr)
