"""Errors in the form that OpenAI clients understand."""

from __future__ import annotations

from aiohttp import web

from tunegate.gateway.problems import Problem


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

    def response(self) -> web.Response:
        """Return the answer: `{"error": {"message", "type", "param", "code"}}`."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status in {401, 403}:
            kind = "authentication_error"
        answer = web.json_response(
            {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}},
            status=self.status,
        )
        if self.status == 401:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="tunegate"'
        if self.retry_after is not None:
            answer.headers["Retry-After"] = str(self.retry_after)
        return answer
