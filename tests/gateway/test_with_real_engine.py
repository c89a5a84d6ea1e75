"""The gateway in front of a real vLLM with the real small model: what opens a route, and what passes through it.

One engine for all tests of the module: it takes about a minute to start. Run in the trainer environment, where torch and
vLLM are.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.fuzzing import CANARY, fuzz
from tests.gateway.real_engine import (
    GOOD,
    HELLO,
    OTHER_BYTES,
    WRONG_NAMES,
    Front,
    RunningEngine,
    gateway_of,
    prepared,
    record,
    started_engine,
)
from tests.gateway.standins import KEY, OTHER_KEY, gateway_program, to
from tunegate.api.serving import RoutesDocument
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.api.stage.probe import Probe
from tunegate.gateway.engine import Engine
from tunegate.gateway.settings import Limits
from tunegate.probes import EngineRequest

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]
NAMES = (GOOD, WRONG_NAMES, OTHER_BYTES)
ROUTES = RoutesDocument(
    revision=1, routes={"extract": to(GOOD), "other": to(WRONG_NAMES)}, names=["extract", "other"], approved=list(NAMES)
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with started_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def probe(engine: RunningEngine) -> Probe:
    """What evaluation records of the good adapter."""
    return asyncio.run(record(engine))


@asynccontextmanager
async def front(folder: Path, engine: RunningEngine, probe: Probe) -> AsyncIterator[Front]:
    async with prepared(folder, engine, probe, ROUTES, *NAMES) as ready, gateway_of(ready) as running:
        yield running


async def test_only_the_evaluated_adapter_passes_its_probe_and_answers(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    assert len(probe.items) >= 4, "the adapter changes hardly anything: the test would prove nothing"
    async with front(tmp_path, engine, probe) as stage:
        states = {one.served_name: (one.state, one.reason) for one in stage.gateway.adapter_states.adapters}
        assert states[GOOD] == ("Ready", "")
        assert states[WRONG_NAMES][0] == "LeftOut"
        assert "like the base model" in states[WRONG_NAMES][1]
        assert states[OTHER_BYTES][0] == "LeftOut"

        status, tuned = await stage.chat("extract")
        assert (status, tuned["model"]) == (200, "extract")
        status, base = await stage.chat("base")
        assert (status, base["model"]) == (200, "base")
        texts = [one["choices"][0]["message"]["content"] for one in (tuned, base)]
        assert texts[0] != texts[1]
        assert (await stage.chat("other"))[0] == 503
        assert (await stage.chat(GOOD))[0] == 404
        await _streams(stage)
        await _completes(stage)
        await _answers_in_other_forms(stage)


async def _streams(stage: Front) -> None:
    body = {"model": "extract", "messages": HELLO, "max_tokens": 4, "temperature": 0, "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["X-Tunegate-Served-Name"] == GOOD
        text = await answer.text()
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert {json.loads(event)["model"] for event in events[:-1]} == {"extract"}
    assert all(json.loads(event)["choices"] for event in events[:-1])
    completion = stage.gateway.metrics.tokens.labels(GOOD, "completion")
    assert completion._value.get() >= 4 + 1


async def _completes(stage: Front) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"model": "extract", "prompt": "Hello", "max_tokens": 2}
    async with stage.http.post(f"{stage.url}/v1/completions", json=body, headers=headers) as answer:
        found = await answer.json()
        assert (answer.status, found["object"], found["model"]) == (200, "text_completion", "extract")


OTHER_FORMS: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": HELLO, "max_output_tokens": 8},
    "/v1/messages": {"messages": HELLO, "max_tokens": 8},
}
EARLIER: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": [
        *HELLO, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"}, *HELLO]},
    "/v1/messages": {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}, *HELLO]},
}  # fmt: skip


async def _answers_in_other_forms(stage: Front) -> None:
    """The same question gets the same text from all endpoints, whole and streamed; an earlier answer can be sent again."""
    headers = {"Authorization": f"Bearer {KEY}"}
    _, chat = await stage.chat("extract")
    text = chat["choices"][0]["message"]["content"]
    for path, body in OTHER_FORMS.items():
        async with stage.http.post(stage.url + path, json={"model": "extract", **body}, headers=headers) as answer:
            found = await answer.json()
            assert (answer.status, found["model"]) == (200, "extract"), found
        whole = found["output"][0]["content"] if path == "/v1/responses" else found["content"]
        assert whole[0]["text"] == text
        sent = {"model": "extract", **body, "stream": True}
        async with stage.http.post(stage.url + path, json=sent, headers=headers) as answer:
            lines = (await answer.text()).splitlines()
        assert GOOD not in "".join(lines)
        events = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
        deltas = [
            event["delta"]
            for event in events
            if event["type"].endswith("text.delta") or ("index" in event and "delta" in event)
        ]
        assert "".join(delta if isinstance(delta, str) else delta["text"] for delta in deltas) == text
        sent = {"model": "extract", **body, **EARLIER[path]}
        async with stage.http.post(stage.url + path, json=sent, headers=headers) as answer:
            assert answer.status == 200, await answer.text()


WORST_ACCEPTED: list[dict[str, Any]] = [
    {"json": {"type": "object", "properties": {f"p{index}": {"type": "string"} for index in range(256)}}},
    {"json": {"type": "string", "maxLength": 63}},
    {"json": {"type": "array", "items": {"type": "string", "minLength": 30, "maxLength": 63}, "minItems": 10_000}},
    {"json": {"type": "object", "properties": {
        f"p{index}": {"type": "string", "format": "uri"} for index in range(18)}}},
    {"json": {"type": "object", "properties": {
        f"p{index}": {"type": "integer", "minimum": -(10**12), "maximum": 10**12} for index in range(90)}}},
    {"json": {"enum": [f"value number {index:04}" for index in range(1_000)]}},
    {"regex": ".{0,31}"},
    {"regex": ".?" * 10},
    {"regex": "[a-z]{1,700}"},
    {"regex": ".*[a-z]*" * 15},
    {"regex": "." * 120},
    {"regex": "(.{0,3}x?){2}"},
    {"regex": "(a|ab|abc|[a-z]{0,3})*(a|ab|abc)*"},
    {"choice": [f"choice number {index:04}" for index in range(1_000)]},
    {"choice": ["x" * 2_000] * 15},
]  # fmt: skip
COMPILE_SECONDS = 60.0
"""Generous: the bound that matters is what is printed, on a machine that nobody else uses."""


@pytest.mark.attack(55)
async def test_the_costliest_schemas_that_are_taken_compile_in_bounded_time_and_memory(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with front(tmp_path, engine, probe) as stage:
        await stage.chat("base", structured_outputs={"json_object": True})
        before = resident_megabytes(engine)
        for constraint in WORST_ACCEPTED:
            begun = time.monotonic()
            status, told = await stage.chat("base", structured_outputs=constraint, max_tokens=12)
            seconds, grown = time.monotonic() - begun, resident_megabytes(engine) - before
            print(f"{seconds:6.2f} s, {grown:5.0f} MB in all: {json.dumps(constraint)[:80]}")
            assert status == 200, told
            assert seconds < COMPILE_SECONDS
            assert (await stage.chat("base"))[0] == 200
        assert resident_megabytes(engine) - before < 1024
        assert engine.process.poll() is None


def resident_megabytes(engine: RunningEngine) -> float:
    """Return the memory of the engine's first process and of all that come from it."""
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        pid = int(lines["Pid"])
        parents[pid], sizes[pid] = int(lines["PPid"]), int(lines.get("VmRSS", "0 kB").split()[0])
    own = {engine.process.pid}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(sizes.get(pid, 0) for pid in own) / 1024


FUZZ_REQUESTS = int(os.environ.get("TUNEGATE_FUZZ_REQUESTS", "1500"))
"""`make fuzz` sends 50,000."""
FUZZ_SECONDS = float(os.environ.get("TUNEGATE_FUZZ_SECONDS", "90"))
FUZZ_SEED = int(os.environ.get("TUNEGATE_FUZZ_SEED", "14"))
FEW = 10_000
"""With fewer requests the other client's p99 is that of a handful of answers, and is only told."""


@pytest.mark.attack(63, 68)
@pytest.mark.timeout(7200)
async def test_mutated_requests_neither_break_gateway_and_engine_nor_starve_another_client(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with (
        prepared(tmp_path, engine, probe, ROUTES, *NAMES) as ready,
        gateway_program(ready.settings, tmp_path / "log") as program,
    ):
        url = f"http://127.0.0.1:{ready.settings.port}"
        # The other client asks an adapter, as clients do. One that asks the base model alone is slowed by any row of an adapter:
        # only then the engine on a CPU takes the way through the adapters' layers.
        report = await fuzz(
            url, (KEY, OTHER_KEY), ["base", "extract"], requests=FUZZ_REQUESTS, seed=FUZZ_SEED, seconds=FUZZ_SECONDS,
            canary={**CANARY, "model": "extract"},
        )  # fmt: skip
        print(report.text())
        for sent, answered in report.failures[:20]:
            print(answered, "for", sent)
        assert report.failures == []
        assert engine.process.poll() is None
        assert program.returncode is None
        assert report.canaries_refused == 0
        assert KEY.encode() not in (tmp_path / "log").read_bytes()
        if FUZZ_REQUESTS >= FEW:
            assert report.ratio < 3


async def test_the_base_model_answers_as_itself_beside_adapters_in_every_slot(engine: RunningEngine) -> None:
    """What the base model decodes in one batch with an adapter is as likely as in a prompt that nobody shares a batch with."""
    async with Engine(engine.socket, Limits()) as connection:
        for adapter in (GOOD, OTHER_BYTES):
            await connection.unload(adapter)
            await connection.load(adapter, engine.place(adapter))
            await _decode(connection, adapter)
        alone = await _decode(connection, BASE_SERVED_NAME)
        beside, *_ = await asyncio.gather(
            *(_decode(connection, name) for name in (BASE_SERVED_NAME, GOOD, OTHER_BYTES))
        )
        for decoded in (alone, beside):
            in_prompt = await _in_prompt(connection, [token for token, _ in decoded])
            differences = [abs(one - other) for one, (_, other) in zip(in_prompt, decoded, strict=True)]
            assert max(differences) < 0.05, f"nats per token: {differences}"
        for adapter in (GOOD, OTHER_BYTES):
            await connection.unload(adapter)


async def _in_prompt(connection: Engine, tokens: list[int]) -> list[float]:
    """Return the log-probabilities of tokens after the prompt under the base model, decoding none of them."""
    body = {"model": BASE_SERVED_NAME, "prompt": [*await _tokens(connection), *tokens], "max_tokens": 1,
            "temperature": 0, "prompt_logprobs": 0}  # fmt: skip
    scored = await connection.ask(EngineRequest("/v1/completions", body))
    positions = scored["choices"][0]["prompt_logprobs"][-len(tokens) :]
    return [position[str(token)]["logprob"] for position, token in zip(positions, tokens, strict=True)]


PROMPT = "The capital of France is"


async def _tokens(connection: Engine) -> list[int]:
    answer = await connection.ask(EngineRequest("/tokenize", {"model": BASE_SERVED_NAME, "prompt": PROMPT}))
    return list(answer["tokens"])


async def _decode(connection: Engine, model: str) -> list[tuple[int, float]]:
    """Return twelve tokens as the model decodes them, each with its log-probability."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0, "logprobs": 0, "ignore_eos": True,
            "return_tokens_as_token_ids": True}  # fmt: skip
    choice = (await connection.ask(EngineRequest("/v1/completions", body)))["choices"][0]
    names = [int(name.removeprefix("token_id:")) for name in choice["logprobs"]["tokens"]]
    return list(zip(names, choice["logprobs"]["token_logprobs"], strict=True))
