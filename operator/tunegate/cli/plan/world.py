"""The world as the operator would see it when all that a job names is there and allowed, with the places of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.configs import STAGE_CONFIG, ValidateConfig
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.job_obstacles import OPEN_CLAIM, as_allowed, told
from tunegate.cli.plan.catalogue import Catalogue
from tunegate.cli.plan.pushed_data import Fetched
from tunegate.cli.plan.questions import PushedQuestions, address_of
from tunegate.digests import file_entry, manifest_digest
from tunegate.manifests.sources import STORE_SCHEME, ClaimPath, HubPath, RegistryPath, model_path
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.inputs import Inputs, needed_claims
from tunegate.reconcile.finetunejob.observed import Observed, StageSettings
from tunegate.reconcile.finetunejob.suites import further_claims

NOWHERE = "none.invalid"
"""Registry and image of a stage that runs here: never asked."""
SETTINGS = StageSettings(NOWHERE, NOWHERE, False)
LIBRARIES = "the checks need further libraries: uv tool install --overrides packaging/without-spacy.txt '.[cli,plan]' in a checkout"
Volumes = Mapping[str, Path]


@dataclass(frozen=True)
class Here:
    """What lies on this machine."""

    volumes: Volumes
    """Folders by claim, or by the repository of a Hub mirror."""
    pushed: Mapping[str, Fetched] = field(default_factory=dict)
    """Data and documents that were fetched from the registry, by address."""
    questions: PushedQuestions = field(default_factory=PushedQuestions)

    def fetched(self, uri: str) -> Fetched | None:
        """Return what lies here of an address in the registry."""
        return self.pushed.get(uri) or self.questions.here.get(uri)

    def has(self, path: object) -> bool:
        """Tell whether what lies at a place is on this machine; claims without a folder are asked for elsewhere."""
        return not isinstance(path, RegistryPath) or self.fetched(path.place.uri) is not None


def named(job: FineTuneJob, catalogue: Catalogue, policy: str | None) -> Observed:
    """Return what files and cluster say of the job, with everything else as the job needs it.

    Raises ``WrongUsage`` for what is missing there, and for data that lies where it is not read from.
    """
    spec = job.spec
    documents = spec.baseline.documents
    for uri in [spec.dataset.uri, *([documents.uri] if documents else [])]:
        if uri.startswith(STORE_SCHEME):
            raise WrongUsage(
                f"{uri}: only data on this machine and pushed data is read. Download it, name it pvc://… and map it"
            )
    server = catalogue.need(ModelServer, spec.server_ref.name, "spec.serverRef of the job")
    base = catalogue.need(BaseModel, server.spec.base_model_ref.name, f"spec.baseModelRef of ModelServer {server.name}")
    suite = catalogue.need(EvaluationSuite, spec.suite_ref.name, "spec.suiteRef of the job")
    server_pool = catalogue.need(ComputePool, server.spec.pool_ref.name, f"spec.poolRef of ModelServer {server.name}")
    pool = catalogue.need(ComputePool, spec.pool_ref.name, "spec.poolRef of the job") if spec.pool_ref else server_pool
    facts: dict[str, Any] = {
        "job": job, "server": server, "suite": suite, "pool": pool, "server_pool": server_pool, "base_model": base,
        "policy": catalogue.policy(policy), "other_suites": catalogue.other_suites(suite.name),
    }  # fmt: skip
    seen = Observed(**facts)
    return replace(seen, **as_allowed(job, server, suite, needed_claims(seen)))


def refuse(seen: Observed) -> None:
    """Raise ``CommandFailure`` with everything that refuses the job for good."""
    refused = [blocked for blocked in told(seen, datetime.now(UTC).date()) if blocked.final]
    if refused:
        raise CommandFailure("\n".join(f"{blocked.reason}: {blocked.message}" for blocked in refused))


def unmapped(seen: Observed, volumes: Volumes) -> list[str]:
    """Return which claims and models lie nowhere on this machine, as far as anyone said."""
    source = model_path(seen.base_model.spec.source) if seen.base_model else None
    needed = [*needed_claims(seen), *([source.repository] if isinstance(source, HubPath) else [])]
    return [name for name in needed if name not in volumes]


def admitted(seen: Observed, here: Here) -> Observed:
    """Return the world with the base model as it lies here, and with what was pushed."""
    base = seen.base_model
    if base is None:
        raise AssertionError("`named` found the base model")
    manifest = _manifest(base, here)
    digest = manifest_digest(manifest)
    status = base.status.model_copy(update={"phase": "Ready", "manifest_digest": digest, "result_digest": digest})
    mapped = [name for name in further_claims(seen).values() if name in here.volumes]
    own = address_of(seen.suite) if seen.suite else None
    pushed = {
        uri: found for uri, found in seen.pushed.items() if uri == own
    }  # as it has to be, where it cannot be read
    pushed |= here.questions.gone
    pushed |= {uri: found.pushed for uri, found in {**here.questions.here, **here.pushed}.items()}
    return replace(
        seen,
        base_model=base.model_copy(update={"status": status}),
        base_manifest=manifest,
        claims={**seen.claims, **dict.fromkeys(mapped, OPEN_CLAIM)},
        pushed=pushed,
    )


def _manifest(base: BaseModel, here: Here) -> Manifest:
    try:
        from tunegate_trainer.inputs import model_files
    except ImportError as error:
        raise CommandFailure(LIBRARIES) from error

    folder = _place(model_path(base.spec.source), here)
    if not folder.is_dir():
        raise WrongUsage(f"BaseModel {base.name}: {folder} is not a folder")
    return Manifest(files=[file_entry(folder, file) for file in model_files(folder)[0]])


def config(seen: Observed, inputs: Inputs, here: Here) -> ValidateConfig:
    """Return what the operator would tell the stage, with the places of this machine."""
    made = {obj["kind"]: obj for obj in attempt_objects(seen, inputs, SETTINGS, "Validate", 1)}
    config = STAGE_CONFIG.validate_json(made["ConfigMap"]["data"]["stage.json"])
    if not isinstance(config, ValidateConfig):
        raise AssertionError("the stage Validate was asked for")
    at = {name: str(_place(path, here)) for name, path in _paths(inputs).items() if here.has(path)}
    further = zip(config.further_suites, inputs.further.readable, strict=True)
    return config.model_copy(
        update={
            "base_model": config.base_model.model_copy(update={"path": at["base"]}),
            "dataset": config.dataset.model_copy(update={"path": at["dataset"]}),
            "suite": config.suite.model_copy(update={"path": at.get("suite", config.suite.path)}),
            "further_suites": [
                told.model_copy(update={"path": str(_place(path, here))})
                for told, (_, path) in further
                if here.has(path)
            ],
            "unread_suites": _unread(seen, config.unread_suites, here),
            "import_path": at.get("imported"),
            "documents": config.documents and config.documents.model_copy(update={"path": at["documents"]}),
        }
    )


def _unread(seen: Observed, told: Mapping[str, str], here: Here) -> dict[str, str]:
    """Return why suites are not read, by name, but for those that only other people read here."""
    found = dict(told)
    for name, claim in further_claims(seen).items():
        if claim not in here.volumes:
            found[name] = f"say where it lies on this machine: --volume {claim}=…"
    for name, suite in seen.other_suites.items():
        uri = address_of(suite) if suite else None
        if uri is None:
            continue
        if uri in here.questions.closed:
            found.pop(name, None)
        elif uri in here.questions.failed:
            found[name] = here.questions.failed[uri]
    return found


def _paths(inputs: Inputs) -> dict[str, ClaimPath | HubPath | RegistryPath]:
    found = {
        "base": inputs.base, "dataset": inputs.dataset, "suite": inputs.questions, "imported": inputs.imported,
        "documents": inputs.documents,
    }  # fmt: skip
    return {name: path for name, path in found.items() if isinstance(path, ClaimPath | HubPath | RegistryPath)}


def _place(path: ClaimPath | HubPath | RegistryPath, here: Here) -> Path:
    if isinstance(path, RegistryPath):
        fetched = here.fetched(path.place.uri)
        if fetched is None:
            raise AssertionError(f"{path.place.uri} was not fetched")
        return fetched.path
    return here.volumes[path.repository] if isinstance(path, HubPath) else here.volumes[path.claim] / path.path
