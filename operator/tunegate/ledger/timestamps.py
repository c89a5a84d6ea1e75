"""Time stamps by an authority (RFC 3161): that a checkpoint existed at a time, without believing the operator's clock."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from tunegate.errors import Transient

SECONDS = 20.0
LARGEST = 64 * 1024
"""Bytes of an answer: a token with its certificates has a few thousand."""


@dataclass(frozen=True)
class Stamp:
    """A verified token: the authority had seen the bytes at that time."""

    time: datetime
    serial: int


class TimeAuthority:
    """One time stamping authority. Its answers are verified before anybody keeps them."""

    def __init__(self, url: str, roots: Sequence[Certificate], ca_file: Path | None = None) -> None:
        """``roots``: certificates that its own leads to; ``ca_file``: what else its TLS certificate may lead to."""
        self._url = url
        self._roots = tuple(roots)
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(ca_file)

    async def stamp(self, data: bytes) -> bytes:
        """Return the authority's response over ``data``. Raises ``Transient`` when it gives none, or a wrong one."""
        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            async with httpx.AsyncClient(verify=self._tls, timeout=SECONDS, trust_env=False) as http:
                answer = await http.post(self._url, content=request.as_bytes(), headers=headers)
        except httpx.HTTPError as error:
            raise Transient(f"{self._url} does not answer: {type(error).__name__}") from error
        if answer.status_code != 200 or len(answer.content) > LARGEST:
            raise Transient(f"{self._url} gives no time stamp: HTTP {answer.status_code}")
        try:
            read_stamp(answer.content, data, self._roots, nonce=request.nonce)
        except ValueError as error:
            raise Transient(f"{self._url} gives no good time stamp: {error}") from error
        return answer.content


def read_stamp(token: bytes, data: bytes, roots: Sequence[Certificate], *, nonce: int | None = None) -> Stamp:
    """Verify that ``token`` was made over ``data`` by an authority below ``roots``. Raises ``ValueError`` saying what is not.

    Certificates must have been valid at the time of the stamp, not today.
    """
    builder = VerifierBuilder(nonce=nonce)
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        response: TimeStampResponse = decode_timestamp_response(token)
        builder.build().verify_message(response, data)
        info = response.tst_info
        return Stamp(info.gen_time, info.serial_number)
    except VerificationError as error:
        raise ValueError(str(error)) from error
    except ValueError as error:
        raise ValueError("not a time stamp of RFC 3161") from error


def read_roots(pem: bytes) -> list[Certificate]:
    """Read certificates in PEM form, one or more. Raises ``ValueError``."""
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("not certificates in PEM form") from None
