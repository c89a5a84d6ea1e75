"""Why a server's certificate is not accepted, in plain words: another authority, another name, or another time.

Clients say all of these alike (`CERTIFICATE_VERIFY_FAILED`), and what helps differs. Codes: OpenSSL's `X509_V_ERR_…`.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

OTHER_NAME = (62, 64)
"""Of a host, and of an IP address."""
NOT_YET_VALID, EXPIRED = 9, 10
OTHER_AUTHORITY = (2, 18, 19, 20, 21, 27)
LOOK_SECONDS = 5.0
MOST_NAMES = 8


@dataclass(frozen=True)
class CertificateFault:
    """What is wrong with a certificate: a sentence that begins with `its certificate`."""

    text: str
    of_authority: bool = False
    """Whether it is of an authority that is not trusted, so that naming another one helps."""


def certificate_fault(error: httpx.HTTPError, trust: ssl.SSLContext) -> CertificateFault | None:
    """Return what is wrong with the certificate of the server that was asked; None for any other failure.

    ``trust``: what it was asked with. A certificate for other names is looked at once more, to say which.
    """
    refused = _refusal(error)
    if refused is None:
        return None
    if refused.verify_code in OTHER_NAME:
        host, port = error.request.url.host, error.request.url.port or 443
        return CertificateFault(_other_name(host, _names(host, port, trust)))
    if refused.verify_code == EXPIRED:
        return CertificateFault("its certificate, or one of the authority's, has expired: ask the platform team")
    if refused.verify_code == NOT_YET_VALID:
        return CertificateFault("its certificate is not valid yet: is this machine's clock right?")
    if refused.verify_code in OTHER_AUTHORITY:
        return CertificateFault(
            "its certificate is of an authority that this machine does not trust", of_authority=True
        )
    return CertificateFault(f"its certificate is not accepted: {refused.verify_message}")


def _refusal(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _other_name(host: str, names: list[str]) -> str:
    if not names:
        return f"its certificate does not name {host}: use a name that it has, or have {host} put into it"
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    return f"its certificate is for {shown}, and {host} is not among them: use one of these names, or have {host} put into the certificate"


def _names(host: str, port: int, trust: ssl.SSLContext) -> list[str]:
    """Return the names in a server's certificate; nothing where it cannot be had.

    Names are believed only if the server proves to be one of them: anyone can write a certificate.
    """
    unproved = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unproved.check_hostname = False
    unproved.verify_mode = ssl.CERT_NONE
    try:
        content = _shown(host, port, unproved, host)
        names = _written(content)
        if names:
            _shown(host, port, trust, names[0].replace("*", "any", 1))
    except (ImportError, OSError, ValueError):
        return []
    return names


def _shown(host: str, port: int, context: ssl.SSLContext, name: str) -> bytes:
    """Return the certificate that a server shows when it is asked as ``name``."""
    with (
        socket.create_connection((host, port), LOOK_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def _written(content: bytes) -> list[str]:
    from cryptography import x509  # Only here: not every image that asks a registry has it.

    try:
        found = x509.load_der_x509_certificate(content).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return []
    dns = [name for name in found.value.get_values_for_type(x509.DNSName) if name.isprintable()]
    return dns + [str(address) for address in found.value.get_values_for_type(x509.IPAddress)]
