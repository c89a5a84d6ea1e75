"""in-toto statements, ready to be signed: what operator and approvers put their names to.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from securesystemslib.dsse import Envelope

from tunegate.digests import canonical

Json = dict[str, Any]
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def statement(subject: Sequence[Json], predicate_type: str, predicate: Mapping[str, Any]) -> Json:
    """Return a statement about its subjects, each made by ``named``."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": list(subject),
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def named(name: str, digest: str) -> Json:
    """Return a subject; ``digest`` is a SHA-256 in hex, with `sha256:` before it or without."""
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


def unsigned(content: Mapping[str, Any]) -> Envelope:
    """Return the DSSE envelope of a statement, in canonical form (RFC 8785), without a signature yet."""
    return Envelope(canonical(content), PAYLOAD_TYPE, {})
