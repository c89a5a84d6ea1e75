"""What one client may use in a minute, and what is told of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.gateway.standins import DIES, GOOD, KEY, KNOWN_TOKEN, OTHER_KEY, Scene, routes, scene, until
from tunegate.api.modelserver import ClientQuota
from tunegate.gateway import inspection
from tunegate.gateway.errors import ApiError
from tunegate.gateway.metrics import CLIENTS, Metrics
from tunegate.gateway.quotas import REMEMBERED, Quotas
from tunegate.gateway.settings import Limits

CREDENTIALS = [KEY, OTHER_KEY, KNOWN_TOKEN]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(quotas: Quotas, client: str, quota: ClientQuota) -> int | None:
    """Return after how many seconds the client may ask again; None: it may now, and did."""
    try:
        quotas.admit(client, quota)
    except ApiError as error:
        return error.retry_after if (error.status, error.code) == (429, "quota_used") else -1
    return None


@pytest.mark.attack(63)
def test_a_minutes_requests_may_come_at_once_and_then_evenly() -> None:
    clock, quota = Clock(), ClientQuota(requests_per_minute=6)
    quotas = Quotas(clock)
    assert [refused(quotas, "key:a", quota) for _ in range(7)] == [None] * 6 + [10]
    assert refused(quotas, "key:b", quota) is None
    clock.now += 10
    assert [refused(quotas, "key:a", quota) for _ in range(2)] == [None, 10]
    clock.now += 3600
    assert [refused(quotas, "key:a", quota) for _ in range(7)] == [None] * 6 + [10]


@pytest.mark.attack(63)
def test_a_client_that_used_more_tokens_than_its_minute_has_waits_until_they_are_paid_back() -> None:
    clock, quota = Clock(), ClientQuota(tokens_per_minute=600)
    quotas = Quotas(clock)
    assert refused(quotas, "key:a", quota) is None
    quotas.spend("key:a", quota, 1800)
    wait = refused(quotas, "key:a", quota)
    assert wait == 121
    clock.now += wait
    assert refused(quotas, "key:a", quota) is None


def test_a_refused_request_costs_nothing_and_a_server_without_quota_refuses_none() -> None:
    clock, quota = Clock(), ClientQuota(requests_per_minute=1)
    quotas = Quotas(clock)
    assert refused(quotas, "key:a", quota) is None
    assert {refused(quotas, "key:a", quota) for _ in range(50)} == {60}
    clock.now += 60
    assert refused(quotas, "key:a", quota) is None
    assert {refused(quotas, "key:b", ClientQuota()) for _ in range(500)} == {None}


def test_quotas_of_any_number_of_clients_take_bounded_memory() -> None:
    quotas, quota = Quotas(Clock()), ClientQuota(requests_per_minute=1, tokens_per_minute=1)
    for number in range(2 * REMEMBERED):
        quotas.admit(f"user:{number}", quota)
    assert len(quotas._buckets) <= 2 * REMEMBERED


async def limited(stage: Scene, **quota: int) -> None:
    document = routes(revision=2, kubernetes_groups=["analysts"], per_client=ClientQuota(**quota))
    await stage.cluster.put(document)
    await until(lambda: stage.gateway.routes.revision == 2, "told")


@pytest.mark.attack(63)
async def test_the_quota_is_the_same_for_keys_and_tokens_and_changes_without_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        assert (await stage.ask())[0] == 200
        await limited(stage, requests_per_minute=2)
        for credential in CREDENTIALS:
            stage.headers = {"Authorization": f"Bearer {credential}"}
            answers = [await stage.ask() for _ in range(3)]
            assert [status for status, _, _ in answers] == [200, 200, 429]
            _, told, headers = answers[-1]
            assert told["error"]["code"] == "quota_used"
            assert 1 <= int(headers["Retry-After"]) <= 30


@pytest.mark.attack(63)
async def test_tokens_of_a_stream_that_its_client_left_count_all_the_same(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await limited(stage, tokens_per_minute=3)
        stage.engine.go.clear()
        body = {"model": "extract", "messages": [{"role": "user", "content": "x" * 64}], "stream": True}
        async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
            await answer.content.readline()
        await until(lambda: stage.gateway.in_flight.served == frozenset(), "left")
        stage.engine.go.set()
        assert (await stage.ask())[0] == 429


@pytest.mark.attack(63)
@pytest.mark.parametrize(
    ("most", "seconds", "code"), [(32_768, 5.0, "answer_too_large"), (65_536, 0.0, "answer_too_hard")]
)
async def test_an_answer_that_cannot_be_passed_on_costs_its_client_and_speaks_against_no_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, seconds: float, code: str
) -> None:
    async with scene(tmp_path, Limits(answer_bytes=most)) as stage:
        monkeypatch.setattr(inspection, "WORK_SECONDS", seconds)
        await limited(stage, tokens_per_minute=3000)
        stage.engine.padding = 40_000
        status, told, _ = await stage.ask()
        assert (status, told["error"]["code"]) == (502, code)
        assert sum(one.requests + one.errors for one in stage.gateway.status().traffic) == 0
        assert (await stage.ask())[1]["error"]["code"] == "quota_used"


async def test_a_failure_of_the_engine_speaks_against_the_release_and_costs_its_client_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await limited(stage, tokens_per_minute=3)
        for _ in range(2):
            assert (await stage.ask(seed=DIES))[1]["error"]["code"] == "engine_failed"
        (counted,) = stage.gateway.status().traffic
        assert (counted.requests, counted.errors) == (2, 2)


@pytest.mark.attack(63)
async def test_a_clients_answers_at_once_are_bounded_by_the_servers_owner(tmp_path: Path) -> None:
    async with scene(tmp_path, Limits(sequences=8, queue_seconds=0.2)) as stage:
        await limited(stage, concurrent_answers=2)
        status, told, _ = await stage.ask(n=3)
        assert (status, told["error"]["code"]) == (400, "too_many_answers")
        stage.engine.go.clear()
        asking = [asyncio.create_task(stage.ask()) for _ in range(2)]
        await until(lambda: len(stage.engine.seen) == 2, "begun")
        assert (await stage.ask())[0] == 429
        stage.engine.go.set()
        assert [status for status, _, _ in await asyncio.gather(*asking)] == [200, 200]


async def test_metrics_tell_clients_by_name_and_never_by_credential(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await limited(stage)
        for credential in CREDENTIALS:
            stage.headers = {"Authorization": f"Bearer {credential}"}
            assert (await stage.ask())[0] == 200
        assert (await stage.ask("unknown"))[0] == 404
        async with stage.http.get(f"{stage.status_url}/metrics") as answer:
            numbers = await answer.text()
    for client in ("key:team", "key:other"):
        assert f'tunegate_gateway_client_requests_total{{client="{client}",model="{GOOD}",status="200"}} 1.0' in numbers
        tokens = f'tunegate_gateway_client_tokens_total{{client="{client}",kind="completion",model="{GOOD}"}} 2.0'
        assert tokens in numbers
    assert 'tunegate_gateway_client_refused_total{client="user:",reason="model_not_found"} 1.0' in numbers
    assert not any(credential in numbers for credential in CREDENTIALS)


@pytest.mark.attack(63)
def test_no_client_makes_series_without_end() -> None:
    metrics = Metrics()
    labels = {metrics.client_label(f"user:{number}") for number in range(10 * CLIENTS)}
    assert len(labels) == CLIENTS + 1
    assert metrics.client_label("user:0") == "user:0"
    assert len(metrics.client_label("user:" + "x" * 10_000)) <= 128
