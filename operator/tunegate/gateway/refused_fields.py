"""Fields that the engine knows and the gateway does not take, and why. The error that names such a field says it.

Every field of vLLM's request models is either taken (``endpoints``) or listed here; a test compares both with the engine's
own models, so a new version of the engine opens nothing that nobody looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

_INSIDE = "it reaches into the engine, which all clients share"
_PIPELINE = "it belongs to engines that hand work to each other"
_MEDIA = "the models here read text"
_NAME = "the gateway names requests itself, in the header X-Request-Id"
_BEAMS = "the engine's beam search costs many times what its text shows"
_STORED = "nothing is kept between two requests: send the whole conversation"
_TEMPLATE = "the released model's own template was evaluated: chat_template_kwargs sets its switches"

ANYWHERE: Mapping[str, str] = {
    "ec_transfer_params": _PIPELINE,
    "kv_transfer_params": _PIPELINE,
    "length_penalty": _BEAMS,
    "logits_processors": _INSIDE,
    "logprob_token_ids": "it draws on the engine as whole vocabularies of log-probabilities do: logprobs gives 20",
    "media_io_kwargs": _MEDIA,
    "mm_payload": _MEDIA,
    "mm_processor_kwargs": _MEDIA,
    "priority": "it would put one client before the others",
    "prompt_logprobs": "it ends vLLM 0.32 for everybody while an adapter answers in the same batch",
    "repetition_detection": _INSIDE,
    "request_id": _NAME,
    "return_mm_kwargs": _MEDIA,
    "routed_experts_prompt_start": _INSIDE,
    "session_id": _NAME,
    "stream_interval": "each token is sent when it is there",
    "vllm_xargs": _INSIDE,
    "watermarking": "the gate saw no watermark",
}
"""On every endpoint."""

CHAT: Mapping[str, str] = {
    **ANYWHERE,
    "audio": _MEDIA,
    "chat_template": _TEMPLATE,
    "documents": _TEMPLATE,
    "function_call": "send tools and tool_choice",
    "functions": "send tools and tool_choice",
    "return_prompt_text": "the prompt's text holds what the platform team put before yours",
    "return_token_offsets": _INSIDE,
    "web_search_options": "models here reach nothing outside",
}
COMPLETIONS: Mapping[str, str] = {
    **ANYWHERE,
    "prompt_embeds": "they are tensors, which the engine loads without knowing where they come from",
    "return_token_offsets": _INSIDE,
    "suffix": "the engine does not fill gaps",
}
RESPONSES: Mapping[str, str] = {
    **ANYWHERE,
    "conversation": _STORED,
    "enable_response_messages": "the raw prompt holds what the platform team put before your text",
    "max_tool_calls": "your program calls the tools: the server calls none",
    "previous_input_messages": "send the whole conversation in input",
    "previous_response_id": _STORED,
    "prompt": "no prompts are stored here: send instructions and input",
}
MESSAGES: Mapping[str, str] = {
    **ANYWHERE,
    "container": "models here run nothing",
    "context_management": _STORED,
    "mcp_servers": "models here reach nothing outside",
}
