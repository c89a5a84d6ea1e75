"""Events pass through whole, under the public name, however the network cuts them."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate.gateway.stream import EventRewriter, renamed

SERVED, PUBLIC = "extract-v1-00000001", "extract"


def event(text: str) -> bytes:
    body = {"id": "x", "model": SERVED, "choices": [{"index": 0, "delta": {"content": text}}], "usage": None}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


COUNT = b"data: " + json.dumps({
    "id": "x", "model": SERVED, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}).encode() + b"\n\n"  # fmt: skip
DONE = b"data: [DONE]\n\n"


def events(stream: bytes) -> list[object]:
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n\n") if line]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=5), st.lists(st.integers(1, 40), max_size=60), st.booleans())
def test_content_survives_any_cut(texts: list[str], cuts: list[int], wants_usage: bool) -> None:
    stream = b"".join(event(text) for text in texts) + COUNT + DONE
    rewriter = EventRewriter(PUBLIC, SERVED, wants_usage)
    out, position = b"", 0
    for cut in cuts:
        out += rewriter.feed(stream[position : position + cut])
        position += cut
    out += rewriter.feed(stream[position:]) + rewriter.close()
    found = events(out)
    assert found[-1] == "[DONE]"
    bodies = [body for body in found if isinstance(body, dict)]
    assert [body["choices"][0]["delta"]["content"] for body in bodies if body["choices"]] == texts
    assert all(body["model"] == PUBLIC for body in bodies)
    assert SERVED.encode() not in out
    assert any(body.get("usage") for body in bodies) == wants_usage
    assert (rewriter.usage.prompt, rewriter.usage.completion) == (7, 3)


def test_the_served_name_is_taken_out_of_error_texts() -> None:
    body = {"error": {"message": f"The model `{SERVED}` cannot do that", "code": 400}}
    assert renamed(body, SERVED, PUBLIC) == {"error": {"message": f"The model `{PUBLIC}` cannot do that", "code": 400}}


def test_what_is_no_event_passes_unchanged() -> None:
    rewriter = EventRewriter(PUBLIC, SERVED, False)
    assert rewriter.feed(b": comment\ndata: no json\n\n") == b": comment\ndata: no json\n\n"
    assert rewriter.feed(b"tail") == b""
    assert rewriter.close() == b"tail"
