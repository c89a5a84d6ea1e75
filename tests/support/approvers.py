"""People who sign: their keys, the signers of a policy, and decisions under their signatures."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from tunegate.api.approval import Approval
from tunegate.keys import PublicKey, SigningKey
from tunegate.release.signature import sign

Json = dict[str, Any]
PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey


def private_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return the key as `openssl genpkey` writes it, encrypted where there is a passphrase."""
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def signer(username: str, key: PublicKey) -> Json:
    """Return an entry of a role's `signers`."""
    return {"username": username, "publicKey": key.pem}


def signed(approval: Json, key: SigningKey) -> Json:
    """Return the Approval with its author's signature."""
    made = sign(Approval.model_validate(approval), key)
    return {**approval, "spec": {**approval["spec"], "signature": made.to_dict()}}
