"""Keys that sign and verify DSSE envelopes (https://github.com/secure-systems-lab/dsse): the one way in which we sign.

The operator signs checkpoints of the ledger and evidence, people sign their decisions; other tools can verify all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature  # type: ignore[attr-defined]

ALLOWED = "an ECDSA P-256 or Ed25519 key in PEM form"


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies. ``id`` is the SHA-256 of its DER form in hex, as `openssl pkey -pubin -outform DER` gives it."""

    id: str
    pem: str

    @classmethod
    @lru_cache(maxsize=64)
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read a public key. Raises ``ValueError`` for anything else, without quoting it."""
        try:
            return cls.of(load_pem_public_key(pem))
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"not {ALLOWED}") from None

    @classmethod
    def of(cls, key: object) -> PublicKey:
        """Wrap a key of the library. Raises ``ValueError`` for other kinds of keys."""
        if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey):
            raise ValueError(f"not {ALLOWED}")
        if isinstance(key, EllipticCurvePublicKey) and not isinstance(key.curve, SECP256R1):
            raise ValueError(f"not {ALLOWED}")
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(sha256(der).hexdigest(), pem.decode())

    @property
    def of_a_curve(self) -> bool:
        """Whether it is an ECDSA P-256 key."""
        return isinstance(_loaded(self.pem), EllipticCurvePublicKey)

    def signed(self, envelope: Envelope) -> bool:
        """Tell whether this key made one of the envelope's signatures."""
        made = envelope.signatures.get(self.id)
        if made is None:
            return False
        try:
            key, signature = _loaded(self.pem), bytes.fromhex(made.signature)
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, envelope.pae())
            elif isinstance(key, EllipticCurvePublicKey):
                key.verify(signature, envelope.pae(), ECDSA(SHA256()))
            else:
                return False
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=64)
def _loaded(pem: str) -> object:
    """Return the library's form of a key: a ledger has few keys and thousands of signatures."""
    return load_pem_public_key(pem.encode())


class Signing(Protocol):
    """A private key, wherever it is kept: in a file, or in a token that never gives it away."""

    def sign(self, envelope: Envelope) -> None:
        """Add this key's signature."""


class SigningKey:
    """A private key in memory. Nothing of it can be printed: it has no fields that are shown."""

    def __init__(self, private: EllipticCurvePrivateKey | Ed25519PrivateKey) -> None:
        self.public = PublicKey.of(private.public_key())
        self._private = private

    @classmethod
    def from_file(cls, path: Path, passphrase: Callable[[], bytes] | None = None) -> SigningKey:
        """Read a PEM file. ``passphrase`` is asked when the file is encrypted; None: such a file is refused.

        Raises ``OSError``, or ``ValueError`` naming the file, never its content.
        """
        content = path.read_bytes()
        try:
            private: object = load_pem_private_key(content, password=None)
        except TypeError:
            if passphrase is None:
                raise ValueError(f"{path}: not {ALLOWED}, without a password") from None
            private = _decrypted(path, content, passphrase())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"{path}: not {ALLOWED}") from None
        if not isinstance(private, EllipticCurvePrivateKey | Ed25519PrivateKey):
            raise ValueError(f"{path}: not {ALLOWED}")
        try:
            return cls(private)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def sign(self, envelope: Envelope) -> None:
        """Add this key's signature: the same for the same content, always (RFC 6979), so that signing again is harmless."""
        if isinstance(self._private, EllipticCurvePrivateKey):
            made = self._private.sign(envelope.pae(), ECDSA(SHA256(), deterministic_signing=True))
        else:
            made = self._private.sign(envelope.pae())
        envelope.signatures[self.public.id] = Signature(self.public.id, made.hex())


def _decrypted(path: Path, content: bytes, passphrase: bytes) -> object:
    try:
        return load_pem_private_key(content, password=passphrase)
    except ValueError:
        raise ValueError(f"{path}: the passphrase does not open this key") from None
