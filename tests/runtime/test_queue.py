"""The work queue: nothing is lost, nobody works on a key twice at a time, retries grow."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from tunegate.runtime.queue import LONGEST_DELAY, QueueClosed, WorkQueue, backoff

KEYS = st.sampled_from(["a", "b", "c"])


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class QueueAgainstModel(RuleBasedStateMachine):
    """Random adds, takes, returns and waits, against the simplest description of what must come out."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock, jitter=lambda: 0.5)
        self.active: set[str] = set()
        self.wanted: dict[str, float] = {}
        self.stops: set[str] = set()

    def teardown(self) -> None:
        self.loop.close()

    @rule(key=KEYS, delay=st.sampled_from([0.0, 1.0, 5.0]))
    def add(self, key: str, delay: float) -> None:
        self.queue.add(key, delay)
        self.wanted[key] = min(self.wanted.get(key, float("inf")), self.clock.now + delay)

    @rule(key=KEYS, delay=st.sampled_from([0.0, 1.0, 5.0]))
    def add_stop(self, key: str, delay: float) -> None:
        self.queue.add(key, delay, stop=True)
        self.wanted[key] = min(self.wanted.get(key, float("inf")), self.clock.now + delay)
        self.stops.add(key)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(stops_only=st.booleans())
    def take(self, stops_only: bool) -> None:
        due = {key for key, at in self.wanted.items() if at <= self.clock.now and key not in self.active}
        due = due & self.stops if stops_only or due & self.stops else due
        key = self._get(stops_only)
        assert (key is None) == (not due)
        if key is not None:
            assert key in due
            assert self.queue.is_stop(key) == (key in self.stops)
            del self.wanted[key]
            self.stops.discard(key)
            self.active.add(key)

    @rule(key=KEYS)
    def give_back(self, key: str) -> None:
        if key in self.active:
            self.queue.done(key)
            self.active.discard(key)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.wanted)
        assert self.queue.active == len(self.active)

    def _get(self, stops_only: bool) -> str | None:
        async def once() -> str | None:
            getter = asyncio.ensure_future(self.queue.get(stops_only=stops_only))
            for _ in range(3):
                await asyncio.sleep(0)
            if getter.done():
                return getter.result()
            getter.cancel()
            return None

        return self.loop.run_until_complete(once())


QueueAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueue = QueueAgainstModel.TestCase


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_delays_grow_to_a_limit_and_stay_positive(failures: int, jitter: float) -> None:
    delay = backoff(failures, jitter)

    assert 0 < delay <= LONGEST_DELAY * 1.25
    assert delay <= backoff(failures + 2, jitter)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_retry_waits_longer_each_time_until_forgotten(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock, jitter=lambda: 0.5)

    delays = [queue.retry("a") for _ in range(3)]
    queue.forget("a")

    assert [0.5, 1.0, 2.0, 0.5] == [*delays, queue.retry("a")]


async def test_an_event_overtakes_a_delay(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a", 60)
    queue.add("a")

    async with asyncio.timeout(1):
        assert "a" == await queue.get()
    assert 0 == len(queue)


async def test_who_waits_is_woken_by_an_add_and_by_the_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("now")
    queue.add("later", 0.05)

    async with asyncio.timeout(2):
        assert ["now", "later"] == [await first, await queue.get()]


async def test_a_closed_queue_tells_everybody_who_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()

    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(result, QueueClosed) for result in results)
    queue.add("a")
    assert 0 == len(queue)


async def test_a_stop_goes_before_all_others_and_a_worker_for_stops_takes_nothing_else() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("first", "second"):
        queue.add(key)
    reserved = asyncio.create_task(queue.get(stops_only=True))
    await asyncio.sleep(0)
    assert not reserved.done()
    queue.add("second", stop=True)

    async with asyncio.timeout(5):
        assert await reserved == "second"
        assert await queue.get() == "first"
    assert (queue.is_stop("second"), queue.is_stop("first")) == (True, False)


async def test_a_stop_that_failed_comes_back_to_a_worker_for_stops(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock, jitter=lambda: 0.5)
    queue.add("other")
    queue.add("failed", stop=True)
    assert await queue.get(stops_only=True) == "failed"
    queue.done("failed")
    clock.now += queue.retry("failed", stop=True)

    async with asyncio.timeout(5):
        assert await queue.get(stops_only=True) == "failed"
    assert queue.is_stop("failed")


async def test_ten_thousand_delayed_keys_come_in_the_order_of_their_times(clock: Clock) -> None:
    queue: WorkQueue[int] = WorkQueue(clock=clock)
    for number in range(10_000):
        queue.add(number, 10_000 - number)
    for number in range(0, 10_000, 2):
        queue.add(number, 0.5)
    clock.now = 20_000

    taken = [await queue.get() for _ in range(10_000)]

    assert set(taken[:5_000]) == set(range(0, 10_000, 2))
    assert taken[5_000:] == list(range(9_999, 0, -2))
