"""How talking to a registry can fail: one class per thing that a caller does about it.

RegistryError ── Unavailable (also Transient) ── Full, ReadOnly, Untrusted
              └─ Unauthorized, Missing, DigestMismatch, Refused (also Terminal)
"""

from __future__ import annotations

from tunegate.errors import Terminal, Transient


class RegistryError(Exception):
    """Any failure of the registry or of what it holds. The message names repository and cause, never a credential."""


class Unavailable(RegistryError, Transient):
    """The registry does not answer, or answers that it can't now (429, 5xx, broken connection): try again later."""


class Full(Unavailable):
    """The registry has no room for what is sent: try again when somebody has made some."""


class ReadOnly(Unavailable):
    """The registry takes nothing at the moment, or deletes nothing (405): its owner decides for how long."""


class Untrusted(Unavailable):
    """The registry's certificate is not accepted. The next try would end alike, until its owner or ours has changed something."""

    def __init__(self, message: str, *, of_authority: bool = False) -> None:
        """``of_authority``: its authority is not trusted here, so that naming another one helps."""
        super().__init__(message)
        self.of_authority = of_authority


class _Final(RegistryError, Terminal):
    def __init__(self, message: str) -> None:
        Terminal.__init__(self, type(self).__name__, message)


class Unauthorized(_Final):
    """The credential is missing, expired or not good for this repository (401, 403)."""


class Missing(_Final):
    """The registry answers, but has no such content (404)."""


class DigestMismatch(_Final):
    """The bytes are not those that the digest or the manifest promises: never use them."""


class Refused(_Final):
    """The registry or this client refuses the content itself (too large, not allowed, malformed)."""
