"""Keys and certificates, made with the openssl command: the cluster's authority with a certificate per component and user,
and an authority of its own for the OpenID provider, which is no part of the cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate_local import settings
from tunegate_local.command import run, succeeds

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
RENEW_BEFORE_SECONDS = 7 * 24 * 3600
CURVE = "prime256v1"
PRIVATE = 0o600
ISSUER = "issuer"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key on disk."""

    certificate: Path
    key: Path


def authority() -> Pair:
    return _pair("ca")


def issuer_authority() -> Pair:
    return _pair("issuer-ca")


def ensure_issuer() -> Pair:
    """What the OpenID provider shows on loopback."""
    return ensure_leaf(ISSUER, ISSUER, (), (f"IP:{settings.LOOPBACK}",), signer=issuer_authority())


def service_account_key() -> Path:
    return settings.PKI / "service-accounts.key"


def _pair(name: str) -> Pair:
    return Pair(settings.PKI / f"{name}.crt", settings.PKI / f"{name}.key")


def ensure_authorities() -> None:
    settings.PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _good(authority()):
        _new_authority(authority(), "tunegate-local")
        # What the old authority signed is worth nothing now.
        for leaf in settings.PKI.glob("*.crt"):
            if leaf != authority().certificate:
                leaf.unlink()
    if not _good(issuer_authority()):
        _new_authority(issuer_authority(), "tunegate-local-issuer")
        _pair(ISSUER).certificate.unlink(missing_ok=True)
    if not service_account_key().exists():
        _new_key(service_account_key())


def ensure_leaf(
    name: str,
    common_name: str,
    organizations: Sequence[str] = (),
    alternative_names: Sequence[str] = (),
    *,
    signer: Pair | None = None,
) -> Pair:
    """A certificate signed by the cluster's authority, or by ``signer``; a server's one names the addresses and host names it
    answers on.

    Alternative names are written as openssl wants them: `IP:10.0.0.1`, `DNS:localhost`.
    """
    pair = _pair(name)
    if _good(pair):
        return pair
    _new_key(pair.key)
    subject = "".join(f"/O={organization}" for organization in organizations) + f"/CN={common_name}"
    purposes = "clientAuth,serverAuth" if alternative_names else "clientAuth"
    extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
    extensions.append(f"extendedKeyUsage={purposes}")
    if alternative_names:
        extensions.append("subjectAltName=" + ",".join(alternative_names))
    request = run(["openssl", "req", "-new", "-key", pair.key, "-subj", subject])
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:
        file.write("\n".join(extensions) + "\n")
        file.flush()
        sign: list[str | Path] = ["openssl", "x509", "-req", "-sha256", "-days", str(LEAF_DAYS), "-extfile", file.name]
        by = signer or authority()
        sign += ["-CA", by.certificate, "-CAkey", by.key, "-CAcreateserial"]
        run([*sign, "-out", pair.certificate], stdin=request)
    return pair


def _new_authority(pair: Pair, name: str) -> None:
    _new_key(pair.key)
    issue: list[str | Path] = ["openssl", "req", "-x509", "-new", "-key", pair.key, "-sha256"]
    issue += ["-days", str(AUTHORITY_DAYS), "-subj", f"/CN={name}", "-out", pair.certificate]
    run([*issue, "-addext", "keyUsage=critical,keyCertSign,cRLSign"])


def _good(pair: Pair) -> bool:
    """Whether the pair exists and its certificate will still hold for a week."""
    if not (pair.certificate.exists() and pair.key.exists()):
        return False
    return succeeds(["openssl", "x509", "-checkend", str(RENEW_BEFORE_SECONDS), "-noout", "-in", pair.certificate])


def _new_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=PRIVATE)
    run(["openssl", "ecparam", "-name", CURVE, "-genkey", "-noout", "-out", path])
    path.chmod(PRIVATE)
