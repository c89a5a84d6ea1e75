"""How a command ends badly: with a sentence for the person who typed it."""

from __future__ import annotations


class CommandFailure(Exception):
    """What went wrong and, where there is one, the next step. The text is all that is printed."""


class WrongUsage(CommandFailure):
    """The options do not go together, or name what there is not: found before anything was asked."""


class Forbidden(CommandFailure):
    """The API server says that this person may not, or that this object may not be: its own words."""


class AlreadyExists(CommandFailure):
    """There is an object of that kind and name."""


class Changed(CommandFailure):
    """The object is not any more as it was when it was read, so nothing was written."""


class Unreachable(CommandFailure):
    """No answer from the API server, the OpenID provider, the exchange or another one."""


class WrongCertificate(Unreachable):
    """A server's certificate is not accepted: another try ends alike."""

    def __init__(self, message: str, *, of_authority: bool) -> None:
        """``of_authority``: its authority is not trusted here, so that naming another one helps."""
        super().__init__(message)
        self.of_authority = of_authority
