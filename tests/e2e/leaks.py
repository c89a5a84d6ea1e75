"""Looks for private keys and passwords where they must not be, whatever they are written as. Names them, never shows them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

PUBLIC = frozenset({"tls.crt", "ca.crt", "username", "AWS_ENDPOINT_URL", "AWS_REGION"})
"""Keys of Secrets whose values may be read by everybody."""
SHORTEST = 16
"""Characters: shorter pieces may stand somewhere by chance."""
PIECE = 12
"""Bytes of a private number that do not stand in a line of PEM by chance."""
SPACES = re.compile(r"\s|\\n")
Json = dict[str, Any]


@dataclass(frozen=True)
class Secret:
    """One value of a Secret, by the pieces that give it away. Nothing of it is shown when a test fails."""

    name: str
    pieces: frozenset[str] = field(repr=False)

    def stands_in(self, text: str) -> bool:
        """Tell whether any piece stands in a text, also where line breaks cut it."""
        joined = SPACES.sub("", text)
        return any(piece in joined for piece in self.pieces)


def secrets_in(objects: list[Json]) -> list[Secret]:
    """Return every private value of Secrets, as the API server gives them."""
    found = []
    for obj in objects:
        name = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
        for key, encoded in (obj.get("data") or {}).items():
            if key not in PUBLIC:
                found.append(Secret(f"{name} {key}", frozenset(_pieces(base64.b64decode(encoded)))))
    return found


def _pieces(value: bytes) -> Iterator[str]:
    text = value.decode()
    if "PRIVATE KEY" in text:
        numbers = list(_private_numbers(value))
        lines = [line for line in text.splitlines() if not line.startswith("-----") and _holds_any_of(line, numbers)]
        yield from (number.hex() for number in numbers)
        for number in numbers:
            yield from _in_base64(number)
        for line in lines:
            yield line
            yield from _in_base64(line.encode())
        return
    tokens = [entry["registrytoken"] for entry in _auths(text).values() if "registrytoken" in entry]
    for word in tokens or [text]:
        assert len(word) >= SHORTEST, "a password that is too short to be told from other words"
        yield word
        yield from _in_base64(word.encode())


def _private_numbers(pem: bytes) -> Iterator[bytes]:
    """Yield what of a key is private: DER and PEM hold these bytes, certificates do not."""
    key = load_pem_private_key(pem, password=None)
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        for number in (numbers.d, numbers.p, numbers.q):
            yield number.to_bytes((number.bit_length() + 7) // 8, "big")
    elif isinstance(key, EllipticCurvePrivateKey):
        yield key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    else:
        assert isinstance(key, Ed25519PrivateKey), "a key of a kind that this test does not know"
        yield key.private_bytes_raw()


def _holds_any_of(line: str, numbers: list[bytes]) -> bool:
    """Tell a line of PEM with a piece of a private number from one that the public key or the certificate may have too."""
    content = base64.b64decode(line)
    return any(number[at : at + PIECE] in content for number in numbers for at in range(len(number) - PIECE + 1))


def _in_base64(value: bytes) -> Iterator[str]:
    """Yield what is the same in every base64 that holds the value, in both alphabets: it may begin at any of three places."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + value).decode().rstrip("=")
        # The first and the last characters hold bits of the neighbors too.
        piece = text[(before * 8 + 5) // 6 : len(text) - 1]
        assert len(piece) >= SHORTEST
        yield piece
        yield piece.translate(str.maketrans("+/", "-_"))


def _auths(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document.get("auths", {}) if isinstance(document, dict) else {}


def places_of(secrets: list[Secret], places: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return which secret stands where."""
    return {(secret.name, place) for place, text in places.items() for secret in secrets if secret.stands_in(text)}
