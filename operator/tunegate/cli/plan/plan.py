"""`plan`: what validation would say of a job, on this machine and without a cluster, before anything is submitted.

The stage's configuration comes from the operator's own planner and is checked by the stage's own code. Only the places
differ: claims are folders of this machine, pushed data lies in the user's cache, and nothing is pushed or recorded. With
`--from-cluster` the API server is asked too whether it would take the job, and what would refuse it or keep it waiting there.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.configs import ValidateConfig
from tunegate.api.stage.results import ValidateResult
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster
from tunegate.cli.documents import read_documents
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.plan import pushed_data, questions, report, world
from tunegate.cli.plan.asked import Asked
from tunegate.cli.plan.catalogue import NO_NAMESPACE, Catalogue, of_cluster
from tunegate.cli.plan.world import LIBRARIES, NOWHERE, Here, Volumes
from tunegate.reconcile.finetunejob.budget import Amount, never_within
from tunegate.reconcile.finetunejob.inputs import Inputs, resolve
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.pushed import named_pushes
from tunegate.reconcile.finetunejob.refusals import Blocked
from tunegate.registry.client import RegistryClient

if TYPE_CHECKING:
    from tunegate_trainer.progress import ProgressBoard


def plan(options: Namespace) -> int:
    """Check the job and print the outcome. Returns 0 when it would pass validation, else 1."""
    documents = [document for file in _files(options) for document in read_documents(str(file))]
    catalogue = Catalogue(documents)
    jobs = catalogue.jobs()
    if len(jobs) != 1:
        raise WrongUsage(f"the files hold {len(jobs)} FineTuneJobs: give exactly one")
    if options.policy and not options.from_cluster:
        raise WrongUsage("--policy chooses among the cluster's: it goes with --from-cluster")
    job, asked = jobs[0], None
    if options.from_cluster:
        asked = _asked(options, documents, job)
        job = asked.job
        catalogue.complete(of_cluster(asked.cluster, job.namespace))
    volumes = _volumes(options.volume or ())
    seen = world.named(job, catalogue, options.policy)
    world.refuse(seen)
    warned = asked.warn(seen) if asked else False
    if missing := world.unmapped(seen, volumes):
        raise WrongUsage(f"say where these lie on this machine: {' '.join(f'--volume {one}=…' for one in missing)}")
    board = _board(options.quiet)
    here = Here(volumes, pushed_data.fetch(named_pushes(job), options, board), questions.read(seen, options, board))
    warned |= _say(seen, here)
    seen = world.admitted(seen, here)
    inputs = resolve(seen)
    if isinstance(inputs, Blocked):
        raise CommandFailure(f"{inputs.reason}: {inputs.message}")
    asked_here = here.has(inputs.questions)
    result = _validate(world.config(seen, inputs, here), board, with_suite=asked_here)
    print(report.FORMATS[options.output](job, result, inputs.pool.spec), end="")
    _check_budget(result, inputs)
    warned = warned or any(finding.action == "Warn" for finding in result.findings)
    return 1 if result.outcome == "Refused" or (options.strict and warned) else 0


def _say(seen: Observed, here: Here) -> bool:
    """Name the suites whose questions are not here; return whether any of it is a warning."""
    told, warned = questions.notes(seen, here.questions)
    for kind, lines in (("note", told), ("warning", warned)):
        for line in lines:
            print(f"{kind}: {screen.shown(line)}", file=sys.stderr)
    return bool(warned)


def _asked(options: Namespace, documents: Iterable[Any], job: FineTuneJob) -> Asked:
    """Return the job as this person would ask for it in the cluster."""
    cluster = Cluster.of(options)
    own = job.namespace if job.namespace != NO_NAMESPACE else cluster.namespace
    document = next(one for one in documents if isinstance(one, dict) and one.get("kind") == FineTuneJob.KIND.kind)
    return Asked.of(cluster, document, job, options.namespace or own)


def _check_budget(result: ValidateResult, inputs: Inputs) -> None:
    """Raise ``CommandFailure`` for a training that no period of the namespace's budget has room for."""
    budget = inputs.policy.spec.budget
    same = budget is not None and budget.currency == inputs.pool.spec.currency
    need = Amount(result.device_hours, result.cost if same else 0.0)
    if result.throughput is not None and (never := never_within(inputs.pool, inputs.policy, need)):
        raise CommandFailure(f"{never.reason}: {never.message}")


def _files(options: Namespace) -> list[Path]:
    found = []
    for name in (options.filename, *(options.with_ or ())):
        path = Path(name)
        if not path.exists():
            raise WrongUsage(f"{path}: no such file or folder")
        found += sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    return list(dict.fromkeys(file.resolve() for file in found))


def _volumes(named: Iterable[str]) -> Volumes:
    found = {}
    for text in named:
        claim, _, folder = text.partition("=")
        if not claim or not folder or not Path(folder).is_dir():
            raise WrongUsage(
                f"--volume {text}: expected CLAIM=FOLDER, with a folder of this machine; ORG/NAME=FOLDER for a model of a "
                "Hub mirror"
            )
        found[claim] = Path(folder).resolve()
    return found


def _validate(config: ValidateConfig, board: ProgressBoard, *, with_suite: bool) -> ValidateResult:
    try:
        from tunegate_trainer import validation
        from tunegate_trainer.context import Places, StageContext
        from tunegate_trainer.endings import StageEnd
    except ImportError as error:
        raise CommandFailure(LIBRARIES) from error

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        places = Places(**dict.fromkeys(Places.__dataclass_fields__, folder))
        try:
            context = StageContext(places, RegistryClient(NOWHERE), board)
            return validation.examine(config, context, with_suite=with_suite).result
        except StageEnd as end:
            raise CommandFailure(end.message) from end
        except ImportError as error:
            raise CommandFailure(_missing(error.name)) from error


def _missing(library: str | None) -> str:
    """Return what to do where a library is not installed."""
    if library == "pyarrow":
        return (
            "Parquet and .zst are read by pyarrow (150 MB), which is not installed: add it, or give .jsonl or .jsonl.gz"
        )
    if library in ("torch", "transformers"):
        return (
            f"of this base model only {library} tells the shapes: from a checkout, uv sync --extra cli --extra trainer. Plain "
            "decoder models such as Llama, Mistral, Qwen, Gemma and Phi need neither"
        )
    return f"{LIBRARIES} ({library} is missing)"


def _board(quiet: bool) -> ProgressBoard:
    """Return where the stage shows its progress: for people on a terminal also on its last line."""
    from tunegate_trainer.progress import ProgressBoard

    class Line(ProgressBoard):
        def show(self, percent: float, message: str = "", **more: Any) -> None:
            super().show(percent, message, **more)
            print(
                f"\r\x1b[K{percent:3.0f} %  {message}", end="" if percent < 100 else "\n", file=sys.stderr, flush=True
            )

    return ProgressBoard("Validate") if quiet or not sys.stderr.isatty() else Line("Validate")
