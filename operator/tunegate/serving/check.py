"""`python -m tunegate check-base`: hashes the base model before the engine of a serving pod reads it, or ends with what is wrong."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tunegate.api import serving
from tunegate.api.manifest import HashedFolder
from tunegate.api.serving import ServerDocument
from tunegate.api.stage.ends import ExitCode
from tunegate.mounted import ConfigurationDiffers, read_documents
from tunegate.serving import base_check


class BadInput(Exception):
    """Nothing can be served: the server's document or the base model are not what was promised."""


@dataclass(frozen=True)
class Places:
    """Where things lie; the defaults are those of a serving pod."""

    documents: Path = Path(serving.CONFIG_DIR)
    report: Path = Path(serving.BASE_REPORT)


def main(config_digest: str) -> int:
    """Run in the pod. Return an ``ExitCode``; the last line on standard error says what was wrong.

    ``config_digest``: of the documents that the pod was made with.
    """
    try:
        run(Places(), config_digest)
    except ConfigurationDiffers as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIGURATION_DIFFERS
    except BadInput as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    return 0


def run(places: Places, config_digest: str) -> HashedFolder:
    """Hash the base model and leave what the gateway compares. Raises ``ConfigurationDiffers`` before all else, ``BadInput``."""
    server = server_document(places.documents, config_digest)
    try:
        base = base_check.checked(server.base, _show)
    except base_check.Differs as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise BadInput(f"base model {server.base.name} cannot be read ({error.strerror})") from error
    places.report.write_text(base.model_dump_json(by_alias=True))
    return base


def server_document(documents: Path, config_digest: str) -> ServerDocument:
    """Return the document that the pod was made with. Raises ``ConfigurationDiffers``, ``BadInput``."""
    try:
        found = read_documents(documents, config_digest)
        return ServerDocument.model_validate_json(found[serving.SERVER_FILE])
    except (OSError, KeyError, ValidationError) as error:
        raise BadInput(f"the server's document cannot be read: {error}") from error


def _show(done: int, total: int) -> None:
    print(f"base model: {done} of {total} bytes hashed", flush=True)
