"""`python -m tunegate pull`: puts the approved adapters into a serving pod, or says why one is left out.

It runs before the engine. Every byte is compared with the manifest whose digest people approved; an adapter that is not
exactly that is left out, with a reason, and the server runs on with the others. What is only out of reach for now ends
the process, so that the kubelet starts it again: adapters that lie here verified are not fetched a second time.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tunegate import adapter_rules
from tunegate.api import serving
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import HashedFolder
from tunegate.api.serving import AdapterEntry, AdapterOutcome, PullReport, ServerDocument
from tunegate.api.stage import layout
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.api.stage.probe import Probe
from tunegate.api.stage.results import EvaluateResult
from tunegate.digests import manifest_digest
from tunegate.mounted import ConfigurationDiffers, read_documents
from tunegate.registry.adapters import pull_adapter, verify
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import DigestMismatch, Missing, Refused, RegistryError
from tunegate.serving import base_check

SERVED_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}-[0-9a-f]{8}")
"""`<release>-<first 8 hex digits of the adapter digest>`: safe as a folder's name, and never the name of a base model."""

BAD_CONTENT = (DigestMismatch, Missing, Refused)
"""The registry answered, and what it has is not the approved adapter: trying again would change nothing."""


class LeftOut(Exception):
    """This adapter is not served; the message says why."""


@dataclass(frozen=True)
class Places:
    """Where things lie; the defaults are those of a serving pod."""

    documents: Path = Path(serving.CONFIG_DIR)
    target: Path = Path(serving.ADAPTERS_DIR)
    auth_file: Path = Path(layout.REGISTRY_AUTH_PATH)
    ca_file: Path = Path(layout.CA_PATH)


def main(config_digest: str) -> int:
    """Run in the pod. Return an ``ExitCode``; the last line on standard error says what was wrong.

    ``config_digest``: of the documents that the pod was made with.
    """
    try:
        report = run(Places(), config_digest)
    except ConfigurationDiffers as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIGURATION_DIFFERS
    except BadInput as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except RegistryError as error:
        print(f"adapters cannot be fetched now, trying again: {error}", file=sys.stderr)
        return ExitCode.UNAVAILABLE
    for outcome in report.adapters:
        print(f"{outcome.served_name}: {outcome.state} {outcome.reason}".rstrip())
    return 0


class BadInput(Exception):
    """Nothing can be served: the documents or the base model are not what was promised."""


def run(places: Places, config_digest: str) -> PullReport:
    """Verify the base model, fetch the adapters and write the engine's configuration and the report.

    Raises ``ConfigurationDiffers`` before anything else is read, ``BadInput``, or ``RegistryError`` when the registry can't
    be asked now.
    """
    try:
        documents = read_documents(places.documents, config_digest)
        server = ServerDocument.model_validate_json(documents[serving.SERVER_FILE])
        entries = serving.ADAPTER_ENTRIES.validate_json(documents[serving.ADAPTERS_FILE])
    except (OSError, KeyError, ValidationError) as error:
        raise BadInput(f"the server's documents cannot be read: {error}") from error
    try:
        base = base_check.checked(server.base, _show)
    except base_check.Differs as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise BadInput(f"base model {server.base.name} cannot be read ({error.strerror})") from error
    with RegistryClient(
        server.registry_host,
        plain_http=server.registry_plain_http,
        auth_file=places.auth_file,
        ca_file=places.ca_file,
    ) as client:
        report = _fetch_all(client, server, entries, places.target, base)
    _write(places.target, report, server.max_loras)
    return report


def _show(done: int, total: int) -> None:
    print(f"base model: {done} of {total} bytes hashed", flush=True)


def _fetch_all(
    client: RegistryClient,
    server: ServerDocument,
    entries: Sequence[AdapterEntry],
    target: Path,
    base: HashedFolder,
) -> PullReport:
    outcomes: list[AdapterOutcome] = []
    probes: dict[str, Probe] = {}
    asked_as: dict[str, AskedAs] = {}
    for entry in entries:
        reason = ""
        try:
            if entry.served_name in {outcome.served_name for outcome in outcomes}:
                raise LeftOut("two adapters have this name")
            evaluation = _fetch(client, server, entry, target)
            probes[entry.served_name] = evaluation.probe
            if evaluation.asked_as is not None:
                asked_as[entry.served_name] = evaluation.asked_as
        except (LeftOut, *BAD_CONTENT) as error:
            reason = str(error)[:1000]
        outcomes.append(
            AdapterOutcome(
                served_name=entry.served_name,
                release=entry.release,
                state="LeftOut" if reason else "Verified",
                cause="Files" if reason else None,
                reason=reason,
            )
        )
    return PullReport(adapters=outcomes, probes=probes, asked_as=asked_as, base=base)


def _fetch(client: RegistryClient, server: ServerDocument, entry: AdapterEntry, target: Path) -> EvaluateResult:
    """Put one adapter into its folder; nothing stays there unless it is what was approved. Return what judged it."""
    if not SERVED_NAME.fullmatch(entry.served_name) or entry.served_name in {BASE_SERVED_NAME, server.base.name}:
        raise LeftOut("the name is not <release>-<8 hex digits>, or shadows the base model")
    if manifest_digest(entry.manifest) != entry.manifest_digest:
        raise LeftOut("the file list does not have the digest that was approved")
    folder = target / entry.served_name
    try:
        evaluation = _evaluation(client, entry)
        if not _present(folder, entry):
            shutil.rmtree(folder, ignore_errors=True)
            pull_adapter(client, entry.repository, entry.digest, entry.manifest, folder)
        if problem := adapter_rules.obstacle(folder, server.max_lora_rank):
            raise LeftOut(problem)
    except (LeftOut, *BAD_CONTENT):
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return evaluation


def _present(folder: Path, entry: AdapterEntry) -> bool:
    """Tell whether an earlier run of this container left the adapter complete; it is hashed again to know."""
    try:
        verify(folder, entry.manifest)
    except (OSError, DigestMismatch, Refused):
        return False
    return True


def _evaluation(client: RegistryClient, entry: AdapterEntry) -> EvaluateResult:
    content = client.pull_document(
        entry.results_repository, entry.evaluation_digest, media_type=layout.RESULT_MEDIA_TYPE
    )
    try:
        result = EvaluateResult.model_validate_json(content)
    except ValidationError as error:
        raise LeftOut("the evaluation's result document cannot be read") from error
    if result.adapter_manifest_digest != entry.manifest_digest:
        raise LeftOut("the evaluation judged another adapter")
    if not result.probe.items:
        raise LeftOut("the evaluation recorded no probe")
    return result


def _write(target: Path, report: PullReport, max_loras: int) -> None:
    """Write the report, and the verified adapters for vLLM's ``--config``, which reads YAML: JSON is YAML.

    ``max_loras`` bounds the adapters of one batch; all of them are kept in CPU memory, ready to be swapped in.
    """
    modules = [
        json.dumps({"name": outcome.served_name, "path": str(target / outcome.served_name)})
        for outcome in report.adapters
        if outcome.state == "Verified"
    ]
    engine = target / Path(serving.ENGINE_CONFIG_PATH).name
    settings: dict[str, object] = {"max-cpu-loras": max(max_loras, len(modules))}
    if modules:
        settings["lora-modules"] = modules
    engine.write_text(json.dumps(settings) + "\n")
    (target / Path(serving.REPORT_PATH).name).write_text(report.model_dump_json(by_alias=True))
