"""Which checkpoint a training goes on from: the newest whole one of its own, whatever lies beside it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.stage_process import KEY
from tunegate_trainer.endings import InputChanged, Unavailable
from tunegate_trainer.training.attempt_times import AttemptLedger
from tunegate_trainer.training.checkpoints import (
    SEAL,
    Checkpoint,
    newest_complete,
    read_checkpoint,
    read_key,
    seal_checkpoint,
)
from tunegate_trainer.training.launch import oom_kills

OTHER_KEY = bytes(reversed(range(32)))


def make_checkpoint(root: Path, step: int, *, sealed: bool = True, key: bytes = KEY) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(bytes(1000))
    (folder / "trainer_state.json").write_text("{}")
    if sealed:
        seal_checkpoint(folder, key, step=step, tokens=step * 10, world_size=1)
    return folder


def newest(root: Path) -> int | None:
    found = newest_complete(root, KEY).newest
    return found.step if found else None


def kinds(root: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in root.iterdir())


def test_an_empty_workspace_has_none(tmp_path: Path) -> None:
    found = newest_complete(tmp_path / "checkpoints", KEY)
    assert (found.newest, found.foreign) == (None, 0)


def test_the_newest_by_number_is_chosen(tmp_path: Path) -> None:
    for step in (100, 90, 1000):
        make_checkpoint(tmp_path, step)

    found = newest_complete(tmp_path, KEY)

    assert found.newest is not None
    assert (found.newest.step, found.newest.tokens, found.newest.world_size) == (1000, 10_000, 1)
    assert found.foreign == 0


def test_half_written_checkpoints_are_removed_also_when_a_kill_came_before(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    make_checkpoint(tmp_path, 20, sealed=False)
    (tmp_path / "broken-checkpoint-15-1").mkdir()

    assert newest(tmp_path) == 10
    assert kinds(tmp_path) == ["checkpoint"]


def test_a_pipe_or_link_in_place_of_a_checkpoint_is_removed_without_waiting(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 100)
    os.mkfifo(tmp_path / "checkpoint-200")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoint-300").symlink_to(tmp_path / "elsewhere")

    assert newest(tmp_path) == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "elsewhere"]


def test_a_checkpoint_that_the_volume_cannot_read_is_put_aside(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    seal = make_checkpoint(tmp_path, 20) / SEAL
    seal.unlink()
    seal.symlink_to(SEAL)  # reading it fails with an error that says nothing of its content

    assert newest(tmp_path) == 10
    assert kinds(tmp_path) == ["checkpoint", "unreadable-checkpoint-20"]


def test_a_changed_byte_makes_a_checkpoint_broken(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    (make_checkpoint(tmp_path, 20) / "adapter_model.safetensors").write_bytes(bytes(999) + b"x")

    assert newest(tmp_path) == 10


@pytest.mark.attack(59)
def test_a_file_beside_those_of_the_manifest_makes_a_checkpoint_broken(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    (make_checkpoint(tmp_path, 20) / "optimizer.pt").write_bytes(b"a pickle that the manifest does not name")

    assert newest(tmp_path) == 10


def test_a_missing_file_or_broken_manifest_makes_a_checkpoint_broken(tmp_path: Path) -> None:
    (make_checkpoint(tmp_path, 10) / "trainer_state.json").unlink()
    (make_checkpoint(tmp_path, 20) / SEAL).write_text("{")
    (make_checkpoint(tmp_path, 30) / SEAL).write_text("[]")

    assert newest(tmp_path) is None


@pytest.mark.attack(59)
def test_whole_checkpoints_of_another_job_are_put_aside_and_counted(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    for step in (20, 48):
        make_checkpoint(tmp_path, step, key=OTHER_KEY)

    found = newest_complete(tmp_path, KEY)

    assert found.newest is not None
    assert (found.newest.step, found.foreign) == (10, 2)
    assert kinds(tmp_path) == ["checkpoint", "foreign-checkpoint-20", "foreign-checkpoint-48"]
    assert newest_complete(tmp_path, KEY).foreign == 2, "the next attempt still says so"


@pytest.mark.attack(59)
@pytest.mark.parametrize("change", ["no seal", "of another step", "more tokens", "another file"])
def test_a_manifest_that_the_key_did_not_seal_is_foreign_or_broken(tmp_path: Path, change: str) -> None:
    folder = make_checkpoint(tmp_path, 20)
    document = json.loads((folder / SEAL).read_bytes())
    if change == "no seal":
        del document["seal"]
    elif change == "more tokens":
        document["tokens"] += 1
    elif change == "another file":
        document["files"] = document["files"][:1]
    (folder / SEAL).write_text(json.dumps(document))
    if change == "of another step":
        folder.rename(tmp_path / "checkpoint-21")

    assert newest(tmp_path) is None


@pytest.mark.attack(59)
def test_a_checkpoint_that_was_swapped_after_it_was_hashed_is_noticed(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "workspace", 20)
    found = read_checkpoint(folder, KEY)
    assert isinstance(found, Checkpoint)
    found.still()

    aside = tmp_path / "aside"
    shutil.copytree(folder, aside)
    shutil.rmtree(folder)
    aside.rename(folder)

    with pytest.raises(InputChanged, match="checkpoint-20"):
        found.still()


@pytest.mark.parametrize("content", [None, b"short"])
def test_without_a_key_no_training_begins(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(Unavailable, match="key of the job's checkpoints"):
        read_key(tmp_path / "key")


def test_time_adds_up_over_attempts(tmp_path: Path) -> None:
    first = AttemptLedger(tmp_path, 1)
    first.record(10)
    first.record(12.5)
    second = AttemptLedger(tmp_path, 2)
    second.record(3)

    assert AttemptLedger(tmp_path, 2).total == 15.5


def test_kills_for_memory_are_read_from_either_control_group(tmp_path: Path) -> None:
    first, second = tmp_path / "memory.events", tmp_path / "memory.oom_control"
    second.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")

    assert oom_kills((first, second)) == 3
    first.write_text("low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert oom_kills((first, second)) == 1
    assert oom_kills((tmp_path / "none",)) == 0


@pytest.mark.parametrize(
    "seal",
    ['{"seal": "x", "step": Infinity, "tokens": 1, "worldSize": 1, "files": []}', "[" * 100_000, '{"seal": "\\ud800", "files": []}', None],
    ids=["a step without end", "nested", "half a character", "a pipe"],
)  # fmt: skip
def test_a_seal_that_is_none_is_no_error_of_the_training(tmp_path: Path, seal: str | None) -> None:
    make_checkpoint(tmp_path, 10)
    broken = make_checkpoint(tmp_path, 20)
    (tmp_path / "checkpoint-²").mkdir()
    (broken / SEAL).unlink()
    if seal is None:
        os.mkfifo(broken / SEAL)
    else:
        (broken / SEAL).write_text(seal)

    assert newest(tmp_path) == 10


@pytest.mark.parametrize("content", ['{"1": {}}', '{"1": NaN, "2": -5, "3": 1e400, "4": true}', "[1]", "[" * 100_000])
def test_times_that_are_none_are_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "attempts.json").write_text(content)
    assert AttemptLedger(tmp_path, 5).total == 0
