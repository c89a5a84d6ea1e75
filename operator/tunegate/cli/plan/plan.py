"""`plan`: what validation would say of a job, on this machine and without a cluster, before anything is submitted.

The stage's configuration comes from the operator's own planner and is checked by the stage's own code. Only the places
differ: claims are folders of this machine, and nothing is pushed or recorded.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.manifest import Manifest
from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.configs import STAGE_CONFIG, ValidateConfig
from tunegate.api.stage.results import ValidateResult
from tunegate.cli.documents import read_documents
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.nearest import did_you_mean
from tunegate.cli.plan import report
from tunegate.digests import file_entry, manifest_digest
from tunegate.errors import wrong_fields
from tunegate.manifests.sources import ClaimPath, HubPath, data_path, model_path
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

R = TypeVar("R", bound=Resource)
KINDS: dict[str, type[Resource]] = {
    model.KIND.kind: model
    for model in (FineTuneJob, ModelServer, BaseModel, ComputePool, EvaluationSuite, ApprovalPolicy)
}
NOBODY = {"username": "whoever-submits", "personId": "whoever-submits"}
NO_UID = "00000000-0000-0000-0000-000000000000"
NOWHERE = "none.invalid"
"""Registry and image of a stage that runs here: never asked."""
SETTINGS = StageSettings(NOWHERE, NOWHERE, False)
LIBRARIES = "the checks need further libraries: uv tool install --overrides packaging/without-spacy.txt '.[cli,plan]' in a checkout"
Volumes = Mapping[str, Path]


class Catalogue:
    """The objects of the files, by kind and name."""

    def __init__(self, documents: Iterable[Any]) -> None:
        """Raises ``CommandFailure`` for a document that is not one of ours or not as it must be."""
        self._objects: dict[tuple[str, str], Resource] = {}
        for document in documents:
            found = _parsed(document)
            if found is not None:
                self._objects[found.kind, found.name] = found

    def jobs(self) -> list[FineTuneJob]:
        """Return all jobs."""
        return [one for one in self._objects.values() if isinstance(one, FineTuneJob)]

    def need(self, model: type[R], name: str, why: str) -> R:
        """Return the object of that name. Raises ``WrongUsage``."""
        found = self._objects.get((model.KIND.kind, name))
        if not isinstance(found, model):
            known = [named for kind, named in self._objects if kind == model.KIND.kind]
            raise WrongUsage(
                f"{model.KIND.kind} {name} ({why}) is in none of the files: add its file with --with.{did_you_mean(name, known)}"
            )
        return found

    def other_suites(self, name: str) -> dict[str, EvaluationSuite]:
        """Return all suites but the one of that name."""
        found = (one for one in self._objects.values() if isinstance(one, EvaluationSuite))
        return {suite.name: suite for suite in found if suite.name != name}

    def policy(self) -> ApprovalPolicy:
        """Return the only policy: which one binds a namespace is the platform's choice and stands in no file of a job."""
        found = [one for one in self._objects.values() if isinstance(one, ApprovalPolicy)]
        if len(found) != 1:
            raise WrongUsage(f"the files hold {len(found)} ApprovalPolicies: give exactly the namespace's own")
        return found[0]


def plan(options: Namespace) -> int:
    """Check the job and print the outcome. Returns 0 when it would pass validation, else 1."""
    catalogue = Catalogue(document for file in _files(options) for document in read_documents(str(file)))
    jobs = catalogue.jobs()
    if len(jobs) != 1:
        raise WrongUsage(f"the files hold {len(jobs)} FineTuneJobs: give exactly one")
    volumes = _volumes(options.volume or ())
    seen = _observed(jobs[0], catalogue, volumes)
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


def _parsed(document: Any) -> Resource | None:
    """Return one of our objects; None for an object of another group or of a kind that a job does not depend on."""
    if not isinstance(document, dict) or document.get("apiVersion") != API_VERSION:
        return None
    model = KINDS.get(str(document.get("kind")))
    if model is None:
        return None
    metadata, spec = dict(document.get("metadata") or {}), dict(document.get("spec") or {})
    name = metadata.get("name")
    if model is FineTuneJob:
        # What the server and `create` fill in.
        metadata = {"uid": NO_UID, "namespace": "default", **metadata}
        spec.setdefault("requestedBy", NOBODY)
    try:
        found = model.model_validate({**document, "metadata": metadata, "spec": spec})
    except ValidationError as error:
        raise CommandFailure(f"{document['kind']} {name}: {wrong_fields(error)}{_quotes(error)}") from error
    unknown = list(_unknown(spec, found.model_dump(mode="json", by_alias=True)["spec"], "spec"))
    if unknown:
        raise CommandFailure(f"{document['kind']} {name}: there are no such fields: {', '.join(unknown)}")
    return found


def _quotes(error: ValidationError) -> str:
    """Return what to do where a number, true or false stands for text."""
    wrong = [
        entry for entry in error.errors() if entry["type"] == "string_type" and isinstance(entry["input"], int | float)
    ]
    return "".join(f". {'.'.join(map(str, entry['loc']))} is text: put {entry['input']} in quotes" for entry in wrong)


def _unknown(given: Any, known: Any, place: str) -> Iterator[str]:
    """Yield the fields that the model dropped: the API server refuses them."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name not in known:
                yield f"{place}.{name}"
            else:
                yield from _unknown(value, known[name], f"{place}.{name}")
    elif isinstance(given, list) and isinstance(known, list):
        for number, (value, kept) in enumerate(zip(given, known, strict=True)):
            yield from _unknown(value, kept, f"{place}[{number}]")


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


def _observed(job: FineTuneJob, catalogue: Catalogue, volumes: Volumes) -> Observed:
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
        "policy": catalogue.policy(), "other_suites": catalogue.other_suites(suite.name),
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


def _place(path: ClaimPath | HubPath, volumes: Volumes) -> Path:
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
