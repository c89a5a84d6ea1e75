"""Puts one approved adapter into a serving pod, or says why it must not be there.

Every byte is compared with the manifest whose digest people approved, in a folder that nothing reads. Only then it gets its place:
a folder that is named by the adapter's digest, cannot be written to, and comes into being by one renaming. So whatever lies under
such a name is whole and verified, whenever this program was killed.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tunegate import adapter_rules
from tunegate.api import serving
from tunegate.api.serving import FOLDER, SERVED_NAME, AdapterEntry, Fetched, ServerDocument, fits, folder_of
from tunegate.api.stage import layout
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.api.stage.results import EvaluateResult
from tunegate.digests import manifest_digest
from tunegate.registry.adapters import pull_adapter, verify
from tunegate.registry.client import RegistryClient
from tunegate.registry.credentials import bearer_in
from tunegate.registry.failures import DigestMismatch, Missing, Refused

STAGING = ".fetch-"
READ_ONLY = 0o555
BAD_CONTENT = (DigestMismatch, Missing, Refused)
"""The registry answered, and what it has is not the approved adapter: trying again at once would change nothing."""


class LeftOut(Exception):
    """This adapter is not served; the message says why."""


@dataclass(frozen=True)
class Places:
    """Where things lie; the defaults are those of a serving pod."""

    target: Path = Path(serving.ADAPTERS_DIR)
    auth_file: Path = Path(layout.REGISTRY_AUTH_PATH)
    ca_file: Path = Path(layout.CA_PATH)


class Adapters:
    """The verified adapters of a pod. Safe to use from several threads, if never two of them have the same digest."""

    def __init__(self, server: ServerDocument, places: Places) -> None:
        self._server = server
        self._places = places
        self._evaluations: dict[tuple[str, str], EvaluateResult] = {}
        """By repository and digest: an engine that is started again needs no registry."""
        for left in places.target.glob(f"{STAGING}*"):
            _remove(left)

    def fetch(self, entry: AdapterEntry, auth: str | None = None) -> Fetched:
        """Put one adapter into its folder; nothing is put there unless it is what was approved. Return what judged it.

        ``auth`` is a Docker configuration that goes before the mounted one. Raises ``LeftOut`` for what is not to be served, and
        ``RegistryError`` when the registry cannot be asked now.
        """
        self._check(entry)
        folder = self._places.target / folder_of(entry.digest)
        try:
            with self._registry(auth) as client:
                evaluation = self._evaluation(client, entry)
                if not _present(folder, entry):
                    self._publish(client, entry, folder)
            if problem := adapter_rules.obstacle(folder, self._server.max_lora_rank):
                raise LeftOut(problem)
        except BAD_CONTENT as error:
            raise LeftOut(str(error)) from error
        return Fetched(folder=str(folder), probe=evaluation.probe, asked_as=evaluation.asked_as)

    def keep(self, digests: Collection[str]) -> list[str]:
        """Remove the folders of all other adapters; return their names."""
        kept = {folder_of(digest) for digest in digests}
        found = [one for one in self._places.target.iterdir() if FOLDER.fullmatch(one.name) and one.name not in kept]
        for folder in found:
            _remove(folder)
        return sorted(folder.name for folder in found)

    def _check(self, entry: AdapterEntry) -> None:
        if not SERVED_NAME.fullmatch(entry.served_name) or entry.served_name in {
            BASE_SERVED_NAME,
            self._server.base.name,
        }:
            raise LeftOut("the name is not <release>-<8 hex digits>, or shadows the base model")
        if not fits(entry.served_name, entry.digest):
            raise LeftOut("the name belongs to an adapter of another digest")
        if manifest_digest(entry.manifest) != entry.manifest_digest:
            raise LeftOut("the file list does not have the digest that was approved")

    def _registry(self, auth: str | None) -> RegistryClient:
        server, places = self._server, self._places
        token = bearer_in(auth, server.registry_host) if auth is not None else None
        return RegistryClient(
            server.registry_host,
            plain_http=server.registry_plain_http,
            auth_file=places.auth_file if token is None else None,
            token_source=None if token is None else lambda _: token,
            ca_file=places.ca_file,
        )

    def _publish(self, client: RegistryClient, entry: AdapterEntry, folder: Path) -> None:
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=self._places.target))
        try:
            pull_adapter(client, entry.repository, entry.digest, entry.manifest, staging)
            if problem := adapter_rules.obstacle(staging, self._server.max_lora_rank):
                raise LeftOut(problem)
            staging.chmod(READ_ONLY)
            _remove(folder)
            staging.rename(folder)
        finally:
            _remove(staging)

    def _evaluation(self, client: RegistryClient, entry: AdapterEntry) -> EvaluateResult:
        key = (entry.results_repository, entry.evaluation_digest)
        if (known := self._evaluations.get(key)) is None:
            content = client.pull_document(*key, media_type=layout.RESULT_MEDIA_TYPE)
            try:
                known = EvaluateResult.model_validate_json(content)
            except ValidationError as error:
                raise LeftOut("the evaluation's result document cannot be read") from error
            self._evaluations[key] = known
        if known.adapter_manifest_digest != entry.manifest_digest:
            raise LeftOut("the evaluation judged another adapter")
        if not known.probe.items:
            raise LeftOut("the evaluation recorded no probe")
        return known


def _present(folder: Path, entry: AdapterEntry) -> bool:
    """Tell whether the adapter lies there complete; it is hashed again to know."""
    try:
        verify(folder, entry.manifest)
    except (OSError, DigestMismatch, Refused):
        return False
    return True


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        folder.chmod(stat.S_IRWXU)
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
