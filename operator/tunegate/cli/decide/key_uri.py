"""Names of keys in PKCS#11 tokens, as RFC 7512 writes them: `pkcs11:token=…;object=…?module-path=…`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

SCHEME = "pkcs11:"
PATH = ("token", "serial", "object", "id", "type")
QUERY = ("module-path",)


@dataclass(frozen=True)
class KeyUri:
    """Which token, and which key of it; None where the name leaves it open."""

    token: str | None = None
    serial: bytes | None = None
    object: str | None = None
    id: bytes | None = None
    module: str | None = None
    """Path of the library that speaks with the token."""

    @classmethod
    def parse(cls, text: str) -> KeyUri:
        """Read a URI. Raises ``ValueError`` naming the attribute at fault and never its value: it may be a PIN."""
        path, _, query = text.removeprefix(SCHEME).partition("?")
        found = _attributes(path, ";", PATH) | _attributes(query, "&", QUERY)
        if found.get("type", "private") != "private":
            raise ValueError("type: only private keys sign; leave it out, or write type=private")
        if "object" not in found and "id" not in found:
            raise ValueError("names no key: give object=LABEL or id=%HEX")
        return cls(
            token=_text(found.get("token")),
            serial=_bytes(found.get("serial")),
            object=_text(found.get("object")),
            id=_bytes(found.get("id")),
            module=_text(found.get("module-path")),
        )


def _attributes(text: str, separator: str, allowed: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.split(separator)):
        name, _, value = part.partition("=")
        if name in ("pin-value", "pin-source"):
            raise ValueError(f"{name}: a PIN is typed at the terminal or read from --pin-file")
        if name not in allowed:
            raise ValueError(f"{name}: not an attribute that is understood here; allowed are {', '.join(PATH + QUERY)}")
        if name in found:
            raise ValueError(f"{name}: is there twice")
        found[name] = value
    return found


def _text(value: str | None) -> str | None:
    return None if value is None else unquote(value, errors="strict")


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else unquote_to_bytes(value)
