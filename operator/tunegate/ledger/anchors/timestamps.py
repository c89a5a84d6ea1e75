"""Time stamps by an authority (RFC 3161): that a checkpoint existed at a time, without believing the operator's clock."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from cryptography.x509 import Certificate, ExtendedKeyUsage, ExtensionNotFound, load_pem_x509_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from tunegate.answers import post_bounded
from tunegate.deadlines import TIME_AUTHORITY_SECONDS
from tunegate.errors import Transient

LARGEST = 64 * 1024
"""Bytes of an answer: a token with its certificates has a few thousand."""


@dataclass(frozen=True)
class Stamp:
    """A verified token: the authority had seen the bytes at that time."""

    time: datetime
    serial: int


class TimeAuthority:
    """One time stamping authority. Its answers are verified before anybody keeps them."""

    def __init__(self, url: str, chain: Sequence[Certificate], ca_file: Path | None = None) -> None:
        """``chain``: its certificate and those above it; ``ca_file``: what else its TLS certificate may lead to."""
        self._url = url
        self._chain = tuple(chain)
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(ca_file)

    async def stamp(self, data: bytes) -> bytes:
        """Return the authority's response over ``data``. Raises ``Transient`` when it gives none, or a wrong one."""
        # Certificates are only asked for where they are not known: some authorities send them in an order that is not DER.
        unknown = not any(map(_stamps, self._chain))
        builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256)
        request = builder.cert_request(cert_request=unknown).build()
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            async with (
                asyncio.timeout(TIME_AUTHORITY_SECONDS),
                httpx.AsyncClient(verify=self._tls, timeout=TIME_AUTHORITY_SECONDS, trust_env=False) as http,
            ):
                answer = await post_bounded(
                    http, self._url, content=request.as_bytes(), headers=headers, largest=LARGEST
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise Transient(f"{self._url} does not answer: {type(error).__name__}") from error
        if answer.status_code != 200:
            raise Transient(f"{self._url} gives no time stamp: HTTP {answer.status_code}")
        try:
            read_stamp(answer.content, data, self._chain, nonce=request.nonce)
        except ValueError as error:
            raise Transient(f"{self._url} gives no good time stamp: {error}") from error
        return answer.content


def read_stamp(token: bytes, data: bytes, chain: Sequence[Certificate], *, nonce: int | None = None) -> Stamp:
    """Verify that ``token`` was made over ``data`` by an authority of ``chain``. Raises ``ValueError`` saying what is not.

    ``chain`` holds the authority's certificate, or several of its, and those above it. They must have been valid at the time
    of the stamp, not today.
    """
    try:
        response = decode_timestamp_response(token)
    except ValueError as error:
        raise ValueError("not a time stamp of RFC 3161") from error
    roots = [one for one in chain if not _stamps(one)]
    authorities: list[Certificate | None] = [one for one in chain if _stamps(one)]
    wrong = "no certificate above the authority's is given"
    for own in authorities or [None]:
        builder = VerifierBuilder(tsa_certificate=own, roots=list(roots), nonce=nonce)
        try:
            builder.build().verify_message(response, data)
            return Stamp(response.tst_info.gen_time, response.tst_info.serial_number)
        except (VerificationError, ValueError) as error:
            wrong = str(error)
    raise ValueError(wrong)


def _stamps(certificate: Certificate) -> bool:
    """Tell whether a certificate is an authority's own."""
    try:
        uses = certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value
    except (ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in uses


def read_chain(pem: bytes) -> list[Certificate]:
    """Read certificates in PEM form, one or more. Raises ``ValueError``."""
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("not certificates in PEM form") from None
