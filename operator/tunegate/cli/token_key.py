"""A key in a PKCS#11 token, such as a smart card: it signs there and never leaves it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature  # type: ignore[attr-defined]

from tunegate.cli.key_uri import KeyUri
from tunegate.keys import PublicKey

ALLOWED = "an ECDSA P-256 key"


class TokenKey:
    """A private key of a token in an open session."""

    def __init__(self, public: PublicKey, private: pkcs11.PrivateKey, pin: str) -> None:
        self.public = public
        self._private = private
        self._pin = pin

    def sign(self, envelope: Envelope) -> None:
        """Add this key's signature. Raises ``pkcs11.PKCS11Error``."""
        if not isinstance(self._private, pkcs11.SignMixin):
            raise pkcs11.KeyTypeInconsistent
        digest = hashlib.sha256(envelope.pae()).digest()
        # Keys for legal signatures, e.g. slot 9c of a PIV card, want the PIN again for each signature.
        again = {"pin": self._pin} if _asks_always(self._private) else {}
        raw = self._private.sign(digest, mechanism=Mechanism.ECDSA, **again)
        envelope.signatures[self.public.id] = Signature(self.public.id, encode_ecdsa_signature(raw).hex())


@contextmanager
def token_key(uri: KeyUri, module: str, pin: Callable[[], str]) -> Iterator[TokenKey]:
    """Open the token's key; ``pin`` is asked once. Raises ``ValueError`` for what is not there or can't be used."""
    try:
        token = pkcs11.lib(module).get_token(
            token_label=uri.token, token_serial=uri.serial, token_flags=TokenFlag.TOKEN_INITIALIZED
        )
        secret = pin()
        with token.open(user_pin=secret) as session:
            private = _key(session, ObjectClass.PRIVATE_KEY, uri.object, uri.id)
            yield TokenKey(_public(session, private), private, secret)
    except pkcs11.PKCS11Error as error:
        raise ValueError(_told(error, module)) from None


def _key(session: pkcs11.Session, kind: ObjectClass, label: str | None, id_: bytes | None) -> Any:
    return session.get_key(object_class=kind, key_type=KeyType.EC, label=label, id=id_)


def _public(session: pkcs11.Session, private: pkcs11.PrivateKey) -> PublicKey:
    """Return the public half, which tokens keep beside the private one under the same id."""
    public = _key(session, ObjectClass.PUBLIC_KEY, None, private.id)
    try:
        return PublicKey.of(load_der_public_key(encode_ec_public_key(public)))
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
