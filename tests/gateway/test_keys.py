"""API keys are read from a folder that the kubelet replaces at any moment."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tunegate.gateway.keys import KEPT_SECONDS, RELOAD_SECONDS, RETRY_SECONDS, ApiKeys

KEYS = {"team": "correct-horse-battery-staple", "other": "incorrect-horse-battery-staple"}


class Clock:
    """Every look at it finds that the keys have to be read again."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += RELOAD_SECONDS
        return self.now


def replace(folder: Path, number: int, keys: dict[str, str]) -> None:
    """Write a version of the volume as the kubelet does: a new folder, a link that is moved, and the old folder removed."""
    link = folder / "..data"
    old = link.resolve()
    version = folder / f"..{number}"
    version.mkdir()
    for name, key in keys.items():
        (version / name).write_text(key)
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(link)
    for name in keys:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    if old != link:
        shutil.rmtree(old)


@contextmanager
def replaced_all_the_time(folder: Path) -> Iterator[threading.Event]:
    """Replace the folder by one with the same keys until the block ends; the event says that it happened often enough."""
    stop, often = threading.Event(), threading.Event()

    def swap() -> None:
        for number in count(1):
            if stop.is_set():
                return
            replace(folder, number, KEYS)
            if number >= 500:
                often.set()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield often
    finally:
        stop.set()
        thread.join()


def test_a_key_holds_while_the_kubelet_replaces_the_folder(tmp_path: Path) -> None:
    replace(tmp_path, 0, KEYS)
    keys = ApiKeys(tmp_path, Clock())
    with replaced_all_the_time(tmp_path) as often:
        while not often.is_set():
            assert all(keys.name_of(key) == name for name, key in KEYS.items())
            assert not keys.name_of("never-was-a-key-of-this-secret")


def test_a_key_that_left_the_secret_is_refused_at_the_next_reading(tmp_path: Path) -> None:
    replace(tmp_path, 0, KEYS)
    keys = ApiKeys(tmp_path, Clock())
    assert keys.name_of(KEYS["other"])
    replace(tmp_path, 1, {"team": KEYS["team"]})
    assert keys.name_of(KEYS["team"])
    assert not keys.name_of(KEYS["other"])


def test_keys_hold_for_a_minute_while_the_folder_cannot_be_read(tmp_path: Path) -> None:
    now = 0.0
    (tmp_path / "team").write_text(KEYS["team"])
    keys = ApiKeys(tmp_path, lambda: now)
    assert keys.name_of(KEYS["team"])
    (tmp_path / "unreadable").symlink_to("unreadable")
    now = KEPT_SECONDS - 1
    assert keys.name_of(KEYS["team"])
    now = KEPT_SECONDS
    assert not keys.name_of(KEYS["team"])
    (tmp_path / "unreadable").unlink()
    now += RETRY_SECONDS
    assert keys.name_of(KEYS["team"])


def test_a_folder_that_cannot_be_read_is_not_tried_at_every_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    (tmp_path / "unreadable").symlink_to("unreadable")
    keys = ApiKeys(tmp_path, lambda: now)

    assert not any(keys.name_of(f"made-up-key-number-{number}") for number in range(100))
    assert len(caplog.records) == 1
    now += RETRY_SECONDS
    assert not keys.name_of("made-up-key")
    assert len(caplog.records) == 2
