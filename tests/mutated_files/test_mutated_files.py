"""Files that people give, mutated: each is read, or refused by a known error that names its place. `make fuzz-files` tries more."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.mutated_files import child, kinds, run
from tests.mutated_files.kinds import GROUPS, Kind
from tests.mutated_files.run import try_group

EACH = int(os.environ.get("TUNEGATE_FUZZ_FILES", "12"))
SEED = int(os.environ.get("TUNEGATE_FUZZ_SEED", "16"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", [group for group in GROUPS if group != "image"])
def test_mutated_files_are_read_or_refused(group: str) -> None:
    outcomes = try_group(group, EACH, SEED)
    assert [outcome.faults for outcome in outcomes if outcome.faults] == []
    assert {outcome.files for outcome in outcomes} == {EACH}


@pytest.mark.model
@pytest.mark.timeout(3600)
def test_mutated_tokenizers_models_and_suites_are_read_or_refused() -> None:
    outcomes = try_group("image", EACH, SEED)
    assert [outcome.faults for outcome in outcomes if outcome.faults] == []
    assert {outcome.files for outcome in outcomes} == {EACH}


def _read(folder: Path) -> str | None:
    """A reader with every fault that is looked for, by what the file says."""
    match (folder / "a.bin").read_bytes()[:1]:
        case b"1":
            return "nothing"
        case b"2":
            raise KeyError("unknown")
        case b"3":
            bytearray(4 * child.MEMORY_BYTES)
        case b"4":
            (folder / "pipe").write_bytes(b"") if (folder / "pipe").exists() else os.mkfifo(folder / "pipe")
            (folder / "pipe").read_bytes()
        case b"5":
            while True:
                time.process_time()
    return None


KINDS = [
    Kind(f"does {number}", lambda number=number: {"a.bin": str(number).encode()}, _read, r"a\.bin", one_file=True)  # type: ignore[misc]
    for number in range(6)
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (0, None), (1, "names no place"), (2, "KeyError"), (3, "MemoryError"), (4, "waited for something"),
        (5, "processor time"),
    ],
)  # fmt: skip
def test_the_program_finds_what_it_looks_for(number: int, fault: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that reads in a way which is wrong on purpose."""
    monkeypatch.setattr(run, "ASLEEP_SECONDS", 3.0)
    program = f"import tests.mutated_files.test_mutated_files as own; own.faulty({number})"
    monkeypatch.setattr(run, "CHILD", [sys.executable, "-c", program])
    (outcome,) = try_group("data", 1, SEED)
    assert outcome.files == 1
    assert [fault in text for _, text in outcome.faults if fault] == ([True] if fault else [])


def faulty(number: int) -> None:
    """Run the child with one reader of this file, and unchanged files."""
    vars(child).update(kinds_of=lambda _: [KINDS[number]], PROCESSOR_SECONDS=2.0, warm_up=lambda *_: None)
    vars(kinds).update(mutated=lambda _random, _name, content: content)
    child.main()
