"""Which checkpoint a training goes on from: the newest whole one, whatever a kill left behind."""

from __future__ import annotations

from pathlib import Path

from tunegate_trainer.training.checkpoints import SEAL, newest_complete, seal_checkpoint
from tunegate_trainer.training.launch import oom_kills
from tunegate_trainer.training.ledger import AttemptLedger


def make_checkpoint(root: Path, step: int, *, sealed: bool = True) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(bytes(1000))
    (folder / "trainer_state.json").write_text("{}")
    if sealed:
        seal_checkpoint(folder, step=step, tokens=step * 10, world_size=1)
    return folder


def test_an_empty_workspace_has_none(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "checkpoints") is None


def test_the_newest_by_number_is_chosen(tmp_path: Path) -> None:
    for step in (100, 90, 1000):
        make_checkpoint(tmp_path, step)

    found = newest_complete(tmp_path)

    assert found is not None
    assert (found.step, found.tokens, found.world_size) == (1000, 10_000, 1)


def test_a_half_written_checkpoint_is_moved_aside(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    make_checkpoint(tmp_path, 20, sealed=False)

    found = newest_complete(tmp_path)

    assert found is not None
    assert found.step == 10
    assert sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir()) == ["broken-checkpoint-20", "checkpoint"]


def test_a_changed_byte_makes_a_checkpoint_broken(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 10)
    (make_checkpoint(tmp_path, 20) / "adapter_model.safetensors").write_bytes(bytes(999) + b"x")

    found = newest_complete(tmp_path)

    assert found is not None
    assert found.step == 10


def test_a_missing_file_or_broken_manifest_makes_a_checkpoint_broken(tmp_path: Path) -> None:
    (make_checkpoint(tmp_path, 10) / "trainer_state.json").unlink()
    (make_checkpoint(tmp_path, 20) / SEAL).write_text("{")

    assert newest_complete(tmp_path) is None


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
