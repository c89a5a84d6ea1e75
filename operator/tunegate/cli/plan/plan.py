"""`plan`: what validation would say of a job, on this machine and without a cluster, before anything is submitted.

The stage's configuration comes from the operator's own planner and is checked by the stage's own code. Only the places
differ: claims are folders of this machine, and nothing is pushed or recorded.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.configs import STAGE_CONFIG, ValidateConfig
from tunegate.api.stage.results import ValidateResult
from tunegate.cli.cluster import Cluster
from tunegate.cli.documents import read_documents
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.plan import report
from tunegate.cli.plan.catalogue import NO_NAMESPACE, Catalogue, of_cluster
from tunegate.digests import file_entry, manifest_digest
from tunegate.manifests.sources import ClaimPath, HubPath, RegistryPath, data_path, model_path
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.data_rights import past_retention
from tunegate.reconcile.finetunejob.inputs import Inputs, needed_claims, resolve
from tunegate.reconcile.finetunejob.observed import Observed, StageSettings
from tunegate.reconcile.finetunejob.refusals import Blocked, refusals
from tunegate.reconcile.finetunejob.suites import further_claims
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL
from tunegate.registry.client import RegistryClient

if TYPE_CHECKING:
    from tunegate_trainer.progress import ProgressBoard

NOWHERE = "none.invalid"
"""Registry and image of a stage that runs here: never asked."""
SETTINGS = StageSettings(NOWHERE, NOWHERE, False)
LIBRARIES = "the checks need further libraries: uv tool install --overrides packaging/without-spacy.txt '.[cli,plan]' in a checkout"
Volumes = Mapping[str, Path]


def plan(options: Namespace) -> int:
    """Check the job and print the outcome. Returns 0 when it would pass validation, else 1."""
    catalogue = Catalogue(document for file in _files(options) for document in read_documents(str(file)))
    jobs = catalogue.jobs()
    if len(jobs) != 1:
        raise WrongUsage(f"the files hold {len(jobs)} FineTuneJobs: give exactly one")
    if options.policy and not options.from_cluster:
        raise WrongUsage("--policy chooses among the cluster's: it goes with --from-cluster")
    if options.from_cluster:
        cluster = Cluster.of(options)
        own = jobs[0].namespace if jobs[0].namespace != NO_NAMESPACE else cluster.namespace
        catalogue.complete(of_cluster(cluster, options.namespace or own))
    volumes = _volumes(options.volume or ())
    seen = _observed(jobs[0], catalogue, volumes, options.policy)
    inputs = resolve(seen)
    if isinstance(inputs, Blocked):
        raise CommandFailure(f"{inputs.reason}: {inputs.message}")
    if (ended := past_retention(jobs[0].spec.dataset, datetime.now(UTC).date())) is not None:
        raise CommandFailure(ended)
    result = _validate(_config(seen, inputs, volumes), quiet=options.quiet)
    print(report.FORMATS[options.output](jobs[0], result, inputs.pool.spec), end="")
    warned = any(finding.action == "Warn" for finding in result.findings)
    return 1 if result.outcome == "Refused" or (options.strict and warned) else 0


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


def _observed(job: FineTuneJob, catalogue: Catalogue, volumes: Volumes, policy: str | None) -> Observed:
    """Return the world as the operator would see it when all that the job needs is there and allowed.

    Raises ``WrongUsage`` for what is missing here, and ``CommandFailure`` with everything that refuses the job for good.
    """
    spec = job.spec
    documents = spec.baseline.documents
    for uri in [spec.dataset.uri, *([documents.uri] if documents else [])]:
        if not isinstance(data_path(uri), ClaimPath):
            raise WrongUsage(f"{uri}: only data on this machine is read. Download it, name it pvc://… and map it")
    server = catalogue.need(ModelServer, spec.server_ref.name, "spec.serverRef of the job")
    base = catalogue.need(BaseModel, server.spec.base_model_ref.name, f"spec.baseModelRef of ModelServer {server.name}")
    suite = catalogue.need(EvaluationSuite, spec.suite_ref.name, "spec.suiteRef of the job")
    server_pool = catalogue.need(ComputePool, server.spec.pool_ref.name, f"spec.poolRef of ModelServer {server.name}")
    pool = catalogue.need(ComputePool, spec.pool_ref.name, "spec.poolRef of the job") if spec.pool_ref else server_pool
    facts: dict[str, Any] = {
        "job": job, "server": server, "suite": suite, "pool": pool, "server_pool": server_pool,
        "policy": catalogue.policy(policy), "other_suites": catalogue.other_suites(suite.name),
    }  # fmt: skip
    named = Observed(**facts, base_model=base)
    if refused := [f"{blocked.reason}: {blocked.message}" for blocked in refusals(named)]:
        raise CommandFailure("\n".join(refused))
    claims = needed_claims(named)
    source = model_path(base.spec.source)
    needed = [*claims, *([source.repository] if isinstance(source, HubPath) else [])]
    missing = [name for name in needed if name not in volumes]
    if missing:
        raise WrongUsage(f"say where these lie on this machine: {' '.join(f'--volume {one}=…' for one in missing)}")
    manifest = _manifest(base, volumes)
    digest = manifest_digest(manifest)
    admitted = {"phase": "Ready", "manifest_digest": digest, "result_digest": digest}
    claim = {
        "metadata": {"labels": {USABLE_BY_JOBS_LABEL: "true"}},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteMany"]},
    }
    mapped = [name for name in further_claims(named).values() if name in volumes]
    return Observed(
        **facts,
        base_model=base.model_copy(update={"status": base.status.model_copy(update=admitted)}),
        base_manifest=manifest,
        hub_endpoint=f"https://{NOWHERE}",
        # Which engines may run is the cluster's to say.
        engine_images=(server.spec.profile.image,),
        claims=dict.fromkeys([*claims, *mapped], claim),
    )


def _manifest(base: BaseModel, volumes: Volumes) -> Manifest:
    try:
        from tunegate_trainer.inputs import model_files
    except ImportError as error:
        raise CommandFailure(LIBRARIES) from error

    folder = _place(model_path(base.spec.source), volumes)
    if not folder.is_dir():
        raise WrongUsage(f"BaseModel {base.name}: {folder} is not a folder")
    return Manifest(files=[file_entry(folder, file) for file in model_files(folder)[0]])


def _config(seen: Observed, inputs: Inputs, volumes: Volumes) -> ValidateConfig:
    """Return what the operator would tell the stage, with the places of this machine."""
    made = {obj["kind"]: obj for obj in attempt_objects(seen, inputs, SETTINGS, "Validate", 1)}
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])
    if not isinstance(config, ValidateConfig) or not isinstance(inputs.dataset, ClaimPath):
        raise AssertionError("the stage Validate of data on a claim was asked for")
    at = {name: str(_place(path, volumes)) for name, path in _paths(inputs).items()}
    unmapped = {
        name: f"say where it lies on this machine: --volume {claim}=…"
        for name, claim in further_claims(seen).items()
        if claim not in volumes
    }
    return config.model_copy(
        update={
            "base_model": config.base_model.model_copy(update={"path": at["base"]}),
            "dataset": config.dataset.model_copy(update={"path": at["dataset"]}),
            "suite": config.suite.model_copy(update={"path": at["suite"]}),
            "further_suites": [
                told.model_copy(update={"path": str(_place(path, volumes))})
                for told, (_, path) in zip(config.further_suites, inputs.further.readable, strict=True)
            ],
            "unread_suites": config.unread_suites | unmapped,
            "import_path": at.get("imported"),
            "documents": config.documents and config.documents.model_copy(update={"path": at["documents"]}),
        }
    )


def _paths(inputs: Inputs) -> dict[str, ClaimPath | HubPath]:
    found = {
        "base": inputs.base, "dataset": inputs.dataset, "suite": inputs.questions, "imported": inputs.imported,
        "documents": inputs.documents,
    }  # fmt: skip
    return {name: path for name, path in found.items() if isinstance(path, ClaimPath | HubPath)}


def _place(path: ClaimPath | HubPath | RegistryPath, volumes: Volumes) -> Path:
    if isinstance(path, RegistryPath):
        raise AssertionError("no pushed data is read at the desk")
    return volumes[path.repository] if isinstance(path, HubPath) else volumes[path.claim] / path.path


def _validate(config: ValidateConfig, *, quiet: bool) -> ValidateResult:
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
            return validation.examine(config, StageContext(places, RegistryClient(NOWHERE), _board(quiet))).result
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
