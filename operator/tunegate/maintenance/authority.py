"""The certificate authority of an installation: it vouches for the chart's registry and MLflow, for nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(hours=1)
LOOPBACK = "127.0.0.1"
PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key. Only ``certificate`` may be shown."""

    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Pair:
        """Read PEM, also of authorities that Helm made (RSA). Raises ``ValueError`` without quoting the content."""
        private = load_pem_private_key(key, password=None)
        if not isinstance(private, PrivateKey):
            raise ValueError("tls.key: neither an ECDSA nor an RSA key")
        return cls(x509.load_pem_x509_certificate(certificate), private)

    def files(self) -> dict[str, bytes]:
        """Return what a Secret of type kubernetes.io/tls holds."""
        return {"tls.crt": self.certificate.public_bytes(Encoding.PEM), "tls.key": private_pem(self.key)}


def private_pem(key: PrivateKey) -> bytes:
    """Return a private key as PKCS 8 without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_key() -> EllipticCurvePrivateKey:
    """Return a new ECDSA P-256 key."""
    return generate_private_key(SECP256R1())


def new_authority(name: str) -> Pair:
    """Return an authority of that name, which signs servers' certificates and no further authorities."""
    key = new_key()
    usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    builder = _builder(name, x509.Name([_common(name)]), key).add_extension(usage, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Pair(builder.sign(key, SHA256()), key)


def server_pair(authority: Pair, names: Sequence[str]) -> Pair:
    """Return the certificate of a server that is reached under any of ``names``, and on loopback."""
    key, issuer = new_key(), authority.certificate
    # RFC 5280, 4.2.1.1: the issuer's own identifier where it has one.
    try:
        subject_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issued_by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
    except x509.ExtensionNotFound:
        issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    alternatives = [*map(x509.DNSName, names), x509.IPAddress(ip_address(LOOPBACK))]
    builder = (
        _builder(names[0], issuer.subject, key)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(issued_by, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return Pair(builder.sign(authority.key, SHA256()), key)


def token_pair(name: str) -> Pair:
    """Return an RSA key, as the registry's tokens need it, with a certificate that signs itself."""
    key = generate_rsa_key(public_exponent=65537, key_size=3072)
    builder = _builder(name, x509.Name([_common(name)]), key)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    return Pair(builder.sign(key, SHA256()), key)


def _common(name: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, name)


def _builder(name: str, issuer: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([_common(name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(identifier, critical=False)
    )


def _usage(*, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
