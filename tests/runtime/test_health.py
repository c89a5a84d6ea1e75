"""The endpoints: they answer from a thread of their own, and only this process's own trouble makes them fail."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from tunegate.runtime.health import LOOP_LAG_LIMIT, RECONCILE_LIMIT, Health, serve
from tunegate.runtime.metrics import REGISTRY


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock=clock)


@pytest.fixture
def url(health: Health) -> Iterator[str]:
    registry = CollectorRegistry()
    Gauge("tunegate_test", "A metric.", registry=registry).set(5)
    server = serve(health, registry, 0)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_it_is_alive_from_the_start_and_ready_when_told(url: str, health: Health) -> None:
    before = [httpx.get(f"{url}{path}").status_code for path in ("/healthz", "/readyz")]
    health.set_ready("standing by")
    after = httpx.get(f"{url}/readyz")

    assert [200, 503] == before
    assert (200, "standing by\n") == (after.status_code, after.text)


def test_a_loop_that_does_not_turn_is_reported(url: str, health: Health, clock: Clock) -> None:
    health.beat()
    clock.now += LOOP_LAG_LIMIT + 1
    answer = httpx.get(f"{url}/healthz")

    assert 503 == answer.status_code
    assert "has not turned for 31 s" in answer.text


def test_a_reconcile_that_hangs_is_reported_with_its_object(url: str, health: Health, clock: Clock) -> None:
    health.began("FineTuneJobController team/a")
    health.began("FineTuneJobController team/b")
    health.ended("FineTuneJobController team/b")
    clock.now += RECONCILE_LIMIT + 1

    assert "FineTuneJobController team/a has been reconciled for 601 s\n" == httpx.get(f"{url}/healthz").text


def test_metrics_are_served_and_other_paths_are_not(url: str) -> None:
    assert "tunegate_test 5.0" in httpx.get(f"{url}/metrics").text
    assert 404 == httpx.get(f"{url}/debug").status_code


def test_no_metric_has_a_label_that_grows_with_objects() -> None:
    allowed = {"controller", "result", "kind", "phase", "write", "version", "le"}

    labels = {label for metric in REGISTRY.collect() for sample in metric.samples for label in sample.labels}

    assert labels <= allowed
