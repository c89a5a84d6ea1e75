"""The counts of objects in the metrics: a scrape finds all of one count."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry, generate_latest

from tunegate.runtime.phase_counts import CountsByPhase

SCRAPES = 300


def test_a_scrape_never_sees_a_part_of_a_count() -> None:
    registry = CollectorRegistry()
    counts = CountsByPhase("tunegate_resources", "Objects.", registry)
    odd = {("FineTuneJob", f"P{number}"): 1 for number in range(50)}
    even = dict.fromkeys(odd, 2)
    counts.replace(odd)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            counts.replace(even)
            counts.replace(odd)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(SCRAPES):
            lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
            assert len(lines) == len(odd)
            assert len({line.rpartition(" ")[2] for line in lines}) == 1
    finally:
        stop.set()
        thread.join()


def test_a_phase_that_no_object_has_any_more_is_not_shown() -> None:
    registry = CollectorRegistry()
    counts = CountsByPhase("tunegate_resources", "Objects.", registry)
    counts.replace({("FineTuneJob", "Training"): 1})
    counts.replace({("FineTuneJob", "Succeeded"): 1})

    text = generate_latest(registry).decode()

    assert 'tunegate_resources{kind="FineTuneJob",phase="Succeeded"} 1.0' in text
    assert "Training" not in text
