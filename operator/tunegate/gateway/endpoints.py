"""The endpoints that ask a model, and in what each differs from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunegate.gateway import refused_fields
from tunegate.gateway.allowed_fields import chat_fields, completion_fields
from tunegate.gateway.checks import Check
from tunegate.gateway.messages_fields import messages_fields
from tunegate.gateway.responses_fields import responses_fields
from tunegate.gateway.schemas import Budget

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
DEFAULT_TOKENS = 256
"""What a chat of no stated length is counted as when shares are weighed; the engine's own bound is the context."""
DEFAULT_COMPLETION_TOKENS = 16
"""What vLLM and the OpenAI API take for a completion of no stated length."""
ErrorForm = Literal["OpenAI", "Anthropic"]


@dataclass(frozen=True)
class Endpoint:
    """One path of the API that is answered by a model."""

    path: str
    checks: Callable[[Budget], dict[str, Check]]
    """Makes the checks of the fields that it takes; those that bind the answer's form draw on one budget."""
    required: tuple[str, ...]
    refused: Mapping[str, str]
    """Fields that the engine knows and that are not taken, and why."""
    lengths: tuple[str, ...]
    """Fields that say how long an answer may be: the first that is set holds."""
    forced: Mapping[str, Any]
    """What the engine is told whatever the client sends."""
    forms: tuple[str, ...] = ()
    """Fields that say which form an answer has."""
    format_in: str | None = None
    """The field whose `format` says which form an answer has, and whose other fields say something else."""
    in_form: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    """Makes of a chat's `response_format` the fields that say the same here: all of them in ``format_in``, where there is one."""
    instruction: str | None = None
    """The field of an instruction that does not stand among the turns."""
    turns: str | None = None
    """The field of the conversation's turns; None: there is no conversation, and the gate asked nothing in this way."""
    default_tokens: int = DEFAULT_TOKENS
    errors: ErrorForm = "OpenAI"


def _text_format(form: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": {"format": {"type": form["type"], **form["json_schema"]}}}


def _output_format(form: Mapping[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": form["type"], "schema": form["json_schema"]["schema"]}}}


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint(
            CHAT, chat_fields, ("model", "messages"), refused_fields.CHAT, ("max_completion_tokens", "max_tokens"), {},
            forms=("response_format", "structured_outputs"), in_form=lambda form: {"response_format": form}, turns="messages",
        ),
        Endpoint(
            COMPLETIONS, completion_fields, ("model", "prompt"), refused_fields.COMPLETIONS, ("max_tokens",), {},
            default_tokens=DEFAULT_COMPLETION_TOKENS,
        ),
        Endpoint(
            RESPONSES, responses_fields, ("model", "input"), refused_fields.RESPONSES, ("max_output_tokens",),
            {"store": False}, forms=("structured_outputs",), format_in="text", in_form=_text_format, instruction="instructions",
            turns="input",
        ),
        Endpoint(
            MESSAGES, messages_fields, ("model", "messages", "max_tokens"), refused_fields.MESSAGES, ("max_tokens",), {},
            format_in="output_config", in_form=_output_format, instruction="system", turns="messages", errors="Anthropic",
        ),
    )
}  # fmt: skip


def error_form(path: str) -> ErrorForm:
    """Return the form of errors on a path: those beside the endpoints are told as OpenAI's API does."""
    return ENDPOINTS[path].errors if path in ENDPOINTS else "OpenAI"
