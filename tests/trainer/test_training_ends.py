"""Why a training ends without a verdict is told apart: devices, memory in any process, storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stage_process import ROOT
from tunegate.api.computepool import ComputePoolSpec
from tunegate_trainer.endings import DevicesMissing, OutOfMemory, StorageFull, Unknown
from tunegate_trainer.full_storage import storage_full, where_full
from tunegate_trainer.training.devices import Devices, missing_devices, require_devices
from tunegate_trainer.training.exchange import Outcome, read_outcome, write_outcome
from tunegate_trainer.training.launch import _raise_unless_verdict

GIB = 2**30
POOL = ComputePoolSpec(
    device_resource="nvidia.com/gpu",
    device_memory="80Gi",
    throughput="2000",
    devices_per_node=8,
    cleared_for=["Public"],
)


def test_a_pool_with_devices_never_trains_on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with a broken driver is like this: CUDA shows no device."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DevicesMissing, match="promises 2 nvidia.com/gpu with 80Gi, torch sees no device"):
        require_devices(POOL, 2)


def test_a_pool_without_devices_needs_none() -> None:
    require_devices(POOL.model_copy(update={"device_resource": None}), 2)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([79.2, 79.2], None),
        ([79.2], "torch sees 1"),
        ([], "torch sees no device"),
        ([79.2, 39.5], "a device has 39.5 GiB"),
        ([79.2, 79.2, 1.0], None),
    ],
)
def test_too_few_or_smaller_devices_are_named(found: list[float], said: str | None) -> None:
    missing = missing_devices(POOL, 2, Devices(tuple(int(size * GIB) for size in found)))

    assert (missing is None) == (said is None)
    assert (said or "") in (missing or "")


@pytest.mark.parametrize("rank", [0, 1, 7])
def test_memory_that_runs_out_in_any_process_is_what_ended_them_all(tmp_path: Path, rank: int) -> None:
    write_outcome(tmp_path, Outcome("Stopped" if rank else "OutOfMemory", steps=3), 0)
    write_outcome(tmp_path, Outcome("OutOfMemory"), rank)

    with pytest.raises(OutOfMemory):
        _raise_unless_verdict(read_outcome(tmp_path), 1)


def test_without_a_failure_the_first_process_speaks_for_all(tmp_path: Path) -> None:
    write_outcome(tmp_path, Outcome("Finished", steps=1), 1)
    assert read_outcome(tmp_path) is None
    write_outcome(tmp_path, Outcome("Finished", steps=24), 0)

    found = read_outcome(tmp_path)

    assert found is not None
    assert found.steps == 24
    _raise_unless_verdict(found, 0)


@pytest.mark.parametrize("content", ["{", "[]", '{"loss_history": 5}', '{"state": "Finished", "steps": 3, "more": 1}'])
def test_an_outcome_that_cannot_be_read_is_unknown(tmp_path: Path, content: str) -> None:
    (tmp_path / "outcome-1.json").write_text(content)
    with pytest.raises(Unknown, match=r"unreadable outcome, outcome-1\.json"):
        read_outcome(tmp_path)


def test_storage_that_is_full_in_any_process_is_an_end_of_its_own(tmp_path: Path) -> None:
    write_outcome(tmp_path, Outcome("StorageFull", "the workspace has no room left"), 1)
    with pytest.raises(StorageFull, match="the workspace has no room left"):
        _raise_unless_verdict(read_outcome(tmp_path), 1)


def fill(place: Path) -> OSError:
    """Write until the file system is full, and return the error that the kernel gave."""
    with pytest.raises(OSError, match="No space left") as full:
        (place / "filler").write_bytes(bytes(9 * 1024 * 1024))
    return full.value


def test_a_full_file_system_is_told_from_other_errors(small_disk: Path, tmp_path: Path) -> None:
    silent = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert not storage_full(silent, small_disk)
    error = fill(small_disk)

    assert storage_full(error)
    assert storage_full(silent, small_disk), "torch does not say why"
    assert not storage_full(ValueError("a defect"), small_disk)
    assert not storage_full(silent, tmp_path)
    assert storage_full(type("SafetensorError", (Exception,), {})("I/O error: No space left on device (os error 28)"))
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = error
    assert storage_full(wrapped)
    assert "workspace.size" in where_full(small_disk)
    assert "workspace.size" not in where_full(ROOT)
