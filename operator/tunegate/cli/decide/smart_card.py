"""A key in a PKCS#11 token, such as a smart card: it signs there and never leaves it.

The token's library runs in a process of its own: it brings native code of its maker, and some of it unsettles the
OpenSSL with which we speak to the API server afterwards. All that it gets is what is to be signed, and the PIN.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature  # type: ignore[attr-defined]

from tunegate.cli.decide.key_uri import KeyUri
from tunegate.keys import PublicKey

ALLOWED = "an ECDSA P-256 key"


@dataclass(frozen=True)
class TokenKey:
    """A private key of a token, by name."""

    uri: KeyUri
    module: str
    pin: str = field(repr=False)

    def sign(self, envelope: Envelope) -> None:
        """Add this key's signature. Raises ``ValueError`` for a token or key that is not there or can't be used."""
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
            try:
                public, made = own.submit(_sign, self, envelope.pae()).result()
            except BrokenProcessPool:
                raise ValueError(f"{self.module} ended its process: is it the library of this token?") from None
        envelope.signatures[public.id] = Signature(public.id, made.hex())


def _sign(key: TokenKey, message: bytes) -> tuple[PublicKey, bytes]:
    """Return the public half and a DER signature. Raises ``ValueError``."""
    try:
        token = pkcs11.lib(key.module).get_token(
            token_label=key.uri.token, token_serial=key.uri.serial, token_flags=TokenFlag.TOKEN_INITIALIZED
        )
        with token.open(user_pin=key.pin) as session:
            private = _find(session, ObjectClass.PRIVATE_KEY, key.uri.object, key.uri.id)
            public = _public(_find(session, ObjectClass.PUBLIC_KEY, None, private.id))
            # Keys for legal signatures, e.g. slot 9c of a PIV card, want the PIN again for each signature.
            again = {"pin": key.pin} if _asks_always(private) else {}
            raw = private.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA, **again)
            return public, encode_ecdsa_signature(raw)
    except pkcs11.PKCS11Error as error:
        raise ValueError(_told(error, key.module)) from None


def _find(session: pkcs11.Session, kind: ObjectClass, label: str | None, id_: bytes | None) -> Any:
    """Return one key. Tokens keep both halves of a pair under one id."""
    return session.get_key(object_class=kind, key_type=KeyType.EC, label=label, id=id_)


def _public(key: pkcs11.PublicKey) -> PublicKey:
    try:
        return PublicKey.of(load_der_public_key(encode_ec_public_key(key)))
    except ValueError:
        raise ValueError(f"the token's key is not {ALLOWED}") from None


def _asks_always(private: pkcs11.PrivateKey) -> bool:
    try:
        return bool(private[Attribute.ALWAYS_AUTHENTICATE])
    except pkcs11.AttributeTypeInvalid:
        return False


def _told(error: pkcs11.PKCS11Error, module: str) -> str:
    """Say what a token answered. Its library gives names only, and none of them quotes a PIN."""
    match error:
        case pkcs11.NoSuchToken():
            return f"{module} sees no such token: is it plugged in?"
        case pkcs11.MultipleTokensReturned():
            return "fits several tokens: name one with token=LABEL or serial=NUMBER"
        case pkcs11.NoSuchKey():
            return f"the token has no such key, or not both halves of it; it must be {ALLOWED}"
        case pkcs11.MultipleObjectsReturned():
            return "fits several keys: name one with object=LABEL and id=%HEX"
        case pkcs11.PinIncorrect() | pkcs11.PinLenRange() | pkcs11.PinInvalid():
            return "the token refused the PIN; after a few wrong ones it locks itself"
        case pkcs11.PinLocked():
            return "the token's PIN is locked: whoever issued the token unlocks it"
    return f"{module}: {type(error).__name__} {error}".rstrip()
