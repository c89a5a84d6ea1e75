"""Answers and events of vLLM's `/v1/responses` and `/v1/messages`, in the form in which 0.32 writes them."""

from __future__ import annotations

import json
from typing import Any

PIECES = ("a", "b")


def responses_answer(model: str, status: str = "completed") -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": f"{model} answers", "annotations": [], "logprobs": None}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "input_tokens_details": {"cached_tokens": 0}}
    done = status == "completed"
    return {
        "id": "resp_1", "object": "response", "model": model, "status": status, "output": [message] if done else [],
        "usage": usage if done else None, "store": False,
    }  # fmt: skip


def messages_answer(model: str) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn",
        "content": [{"type": "text", "text": f"{model} answers"}],
        "usage": {"input_tokens": 4, "output_tokens": 2, "cache_read_input_tokens": 1},
    }  # fmt: skip


def responses_events(model: str) -> list[dict[str, Any]]:
    deltas = [{"type": "response.output_text.delta", "item_id": "msg_1", "delta": text} for text in PIECES]
    return [
        {"type": "response.created", "response": responses_answer(model, "in_progress")},
        *deltas,
        {"type": "response.output_text.done", "item_id": "msg_1", "text": "".join(PIECES)},
        {"type": "response.completed", "response": responses_answer(model)},
    ]


def messages_events(model: str) -> list[dict[str, Any]]:
    started = {**messages_answer(model), "content": [], "usage": {"input_tokens": 4, "output_tokens": 0}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in PIECES
    ]
    return [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": messages_answer(model)["usage"],
        },
        {"type": "message_stop"},
    ]


def sent(event: dict[str, Any]) -> bytes:
    """Return an event as vLLM sends it: compact JSON after the event's type."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()
