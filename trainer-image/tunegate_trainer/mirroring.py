"""Copy stage: bring a base model from the site's Hub mirror into the pod's folder, before anything reads it.

Only files that a base model may have are asked for: no pickles, no code, no folders. Once the catalogue has admitted the
model, exactly its files are, and every byte of them is compared. What the mirror says of an error is not passed on but for
its status: some answer with addresses that carry a signature.
"""

from __future__ import annotations

import glob
import logging
import os
import shutil
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tunegate import digests
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import CopyModelConfig
from tunegate.api.stage.layout import HUB_AUTHORITY, HUB_TOKEN
from tunegate.logs import event
from tunegate.secret_values import read_value
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput, Unavailable
from tunegate_trainer.full_storage import NO_ROOM, causes
from tunegate_trainer.inputs import is_model_file

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""At copying: what is complete stays, and within one the client asks five times for the rest of a file that broke off."""
PAUSE_SECONDS = 2.0
"""Before the second attempt, and twice as long before the third."""
SILENCE_SECONDS = 20.0
"""A mirror that sends nothing for so long is taken for gone."""
CLIENT = {
    "HF_HUB_OFFLINE": "0",
    # Its own protocol, which would fetch the bytes from elsewhere.
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Warnings quote addresses.
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DOWNLOAD_TIMEOUT": str(int(SILENCE_SECONDS)),
    "HF_HUB_ETAG_TIMEOUT": str(int(SILENCE_SECONDS)),
}
"""Read by the client when it is imported."""


def run(config: CopyModelConfig, context: StageContext) -> None:
    """Copy the model to ``config.path``. Raises ``BadInput`` and, where trying again can help, ``Unavailable``."""
    what = f"hf://{config.repository}@{config.revision}"
    token = _token(config, context.places.store)
    _prepare_client((context.places.ca, context.places.store / HUB_AUTHORITY))
    context.progress.show(0, "looking at the mirror")
    with _understood(config, what):
        offered = _listed(config, token)
    files = _wanted(config, offered, what)
    total = sum(files.values())
    if total > config.max_bytes:
        raise BadInput(
            f"{what} has {total} bytes, the folder for it holds {config.max_bytes}: ask for a larger hub.size"
        )
    context.progress.show(0, f"copying {len(files)} files, {total} bytes")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _understood(config, what):
                _copy(config, token, files)
            break
        except _Interrupted:
            if attempt == ATTEMPTS:
                raise
            log.info("the mirror is asked again", extra=event("MirrorAskedAgain", attempt=attempt))
            time.sleep(PAUSE_SECONDS * attempt)
    # The client's notes on what is complete: serving pods refuse every JSON file that the catalogue does not know.
    shutil.rmtree(Path(config.path) / ".cache")
    if config.manifest is not None:
        _compare(Path(config.path), config.manifest, what)
    log.info("base model copied", extra=event("BaseModelCopied", files=len(files), bytes=total))


def _token(config: CopyModelConfig, store: Path) -> str | None:
    if config.secret_name is None:
        return None
    token, authority = store / HUB_TOKEN, store / HUB_AUTHORITY
    if not token.is_file() and not authority.is_file():
        raise Unavailable(
            f"the Secret {config.secret_name} of the Hub mirror does not exist in namespace {config.job.namespace}, or has "
            f"neither {HUB_TOKEN} nor {HUB_AUTHORITY}: create it there"
        )
    try:
        return read_value(token) or None
    except ValueError as error:
        raise Unavailable(f"the Secret {config.secret_name} of the Hub mirror {error}") from error


def _prepare_client(authorities: tuple[Path, ...]) -> None:
    """Let the client reach the mirror, trusting the usual authorities and those of the site."""
    import certifi

    os.environ |= CLIENT
    import httpx2
    from huggingface_hub import set_client_factory

    trusted = ssl.create_default_context(cafile=certifi.where())
    for authority in authorities:
        try:
            if authority.is_file():
                trusted.load_verify_locations(authority)
        except ssl.SSLError as error:
            raise Unavailable(
                f"{authority.name} of the Hub mirror is no certificate in PEM form: put it right"
            ) from error
    set_client_factory(lambda: httpx2.Client(verify=trusted, follow_redirects=True, timeout=SILENCE_SECONDS))


def _listed(config: CopyModelConfig, token: str | None) -> dict[str, int]:
    """Return the names of the files at the top of the model, and their bytes."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=config.endpoint, token=token or False)
    entries = api.list_repo_tree(config.repository, revision=config.revision)
    return {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}


def _wanted(config: CopyModelConfig, offered: Mapping[str, int], what: str) -> dict[str, int]:
    if config.manifest is None:
        found = {name: size for name, size in offered.items() if is_model_file(Path(name))}
        if not found:
            raise BadInput(f"{what}: the mirror has no file there that a base model may have")
        return found
    promised = {entry.path: entry.size for entry in config.manifest.files}
    missing = sorted(promised.keys() - offered.keys())
    if missing:
        raise BadInput(f"{what}: the mirror lacks files that the catalogue admitted: {', '.join(missing[:5])}")
    return promised


def _copy(config: CopyModelConfig, token: str | None, names: Iterable[str]) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(
        config.repository,
        revision=config.revision,
        endpoint=config.endpoint,
        token=token or False,
        local_dir=config.path,
        allow_patterns=[glob.escape(name) for name in names],
    )


def _compare(folder: Path, manifest: Manifest, what: str) -> None:
    for entry in manifest.files:
        if digests.file_entry(folder, folder / entry.path) != entry:
            raise BadInput(f"{what}: {entry.path} on the mirror has other bytes than the catalogue admitted")


class _Interrupted(Unavailable):
    """The connection, not the mirror's word, ended it."""


@contextmanager
def _understood(config: CopyModelConfig, what: str) -> Iterator[None]:
    """Turn the client's errors into ends of the stage."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, httpx2.HTTPError) as error:
        chain = list(causes(error))
        if any(isinstance(one, OSError) and one.errno in NO_ROOM for one in chain):
            raise Unavailable(f"{what}: the node's disk has no room for the model") from error
        status = next((one.response.status_code for one in chain if isinstance(one, HfHubHTTPError)), None)
        if status in (401, 403):
            key = f"the token of Secret {config.secret_name}" if config.secret_name else "a request without a token"
            raise Unavailable(
                f"{what}: {config.endpoint} refuses {key} (HTTP status {status}): put hub.secretName or its {HUB_TOKEN} right"
            ) from error
        if status == 404:
            raise BadInput(f"{what}: {config.endpoint} has no such model, or not this commit") from error
        said = f"HTTP status {status}" if status else type(chain[-1]).__name__
        raise _Interrupted(f"{what}: {config.endpoint} cannot be read ({said})") from error
