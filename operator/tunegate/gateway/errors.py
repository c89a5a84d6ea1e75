"""Errors in the forms that clients of OpenAI's and of Anthropic's API understand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from tunegate.gateway.endpoints import ErrorForm
from tunegate.gateway.problems import Problem

ANTHROPIC_TYPES: Mapping[int, str] = MappingProxyType({
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
})  # fmt: skip
"""Source: Anthropic's reference of errors."""


def anthropic_type(status: int) -> str:
    """Return what Anthropic's API calls an error of this status."""
    return ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


class ApiError(Exception):
    """A request that is answered with an error. ``code`` is the machine's word, ``message`` the person's."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: int | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.param = param

    @classmethod
    def of(cls, problem: Problem) -> ApiError:
        """Return the error that tells a client what is wrong with its body."""
        return cls(400, problem.code, problem.message, param=problem.param)

    def response(self, form: ErrorForm = "OpenAI") -> web.Response:
        """Return the answer: `{"error": {"message", "type", "param", "code"}}`, in Anthropic's form beside a `type`."""
        answer = web.json_response(self._document(form), status=self.status)
        if self.status == 401:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="tunegate"'
        if self.retry_after is not None:
            answer.headers["Retry-After"] = str(self.retry_after)
        return answer

    def _document(self, form: ErrorForm) -> dict[str, Any]:
        if form == "Anthropic":
            kind = anthropic_type(self.status)
        elif self.status in {401, 403}:
            kind = "authentication_error"
        else:
            kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"type": "error", "error": error} if form == "Anthropic" else {"error": error}
