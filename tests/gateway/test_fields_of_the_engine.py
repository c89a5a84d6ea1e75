"""Every field of the engine's own request models was looked at: a new version of vLLM opens nothing by itself."""

from __future__ import annotations

import importlib

import pytest

from tunegate.gateway.endpoints import CHAT, COMPLETIONS, ENDPOINTS, MESSAGES, RESPONSES
from tunegate.gateway.schemas import Budget

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
MODELS = {
    CHAT: "openai.chat_completion.protocol.ChatCompletionRequest",
    COMPLETIONS: "openai.completion.protocol.CompletionRequest",
    RESPONSES: "openai.responses.protocol.ResponsesRequest",
    MESSAGES: "anthropic.protocol.AnthropicMessagesRequest",
}
OTHERS = {
    "audio", "best_of", "cache_control", "container", "context_management", "conversation", "function_call", "functions",
    "logits_processors", "mcp_servers", "metadata", "modalities", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "service_tier", "store", "stream_options", "verbosity", "web_search_options",
}  # fmt: skip
"""Fields of the APIs that vLLM 0.32 does not know; they are refused, or dropped on the way."""


@pytest.mark.attack(55)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_field_of_the_engine_is_taken_or_refused_by_name(path: str) -> None:
    module, _, name = MODELS[path].rpartition(".")
    model = getattr(importlib.import_module(f"vllm.entrypoints.{module}"), name)
    endpoint = ENDPOINTS[path]
    taken, refused = set(endpoint.checks(Budget())), set(endpoint.refused)
    known = {field.alias or name for name, field in model.model_fields.items()}
    assert known - taken - refused == set(), "fields that nobody decided about"
    assert (taken | refused) - known <= OTHERS | SHARED, "fields that this engine does not have any more"


SHARED = {"length_penalty", "logprob_token_ids", "priority", "prompt_logprobs", "repetition_detection", "request_id",
          "routed_experts_prompt_start", "session_id", "stream_interval", "media_io_kwargs", "mm_processor_kwargs"}  # fmt: skip
"""Fields that only some of its models have, and that are refused everywhere."""
