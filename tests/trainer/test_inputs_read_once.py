"""What was checked is what is read: files that are swapped while a stage reads them never give other rows than the digest."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.stage_process import make_rows, write_rows
from tests.support.suites import suite_spec
from tunegate import digests
from tunegate.api.stage.configs import DatasetInput, DocumentsInput, FurtherSuite, SuiteInput
from tunegate_trainer.data.rows import read_sound_rows
from tunegate_trainer.data.shards import open_dataset, open_rows
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.documents import load_documents
from tunegate_trainer.evaluation.questions import load_suite, load_training
from tunegate_trainer.validation.suites import _Reading

GOOD, OTHER = make_rows(20), make_rows(20, start=500)
READINGS = 20
Opener = Callable[[Path, str | None, Path], tuple[str, str]]
"""From the file, the promised digest and scratch space to the digest that was found and the first question."""


@contextmanager
def swapping(path: Path, contents: tuple[bytes, bytes]) -> Iterator[None]:
    """Put the contents in each other's place, as fast as it goes, until the block ends."""
    ended = threading.Event()

    def swap() -> None:
        for number in range(10**9):
            if ended.is_set():
                return
            draft = path.with_name(f".{path.name}")
            draft.write_bytes(contents[number % 2])
            draft.replace(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _dataset(path: Path, promised: str | None, scratch: Path) -> tuple[str, str]:
    shards, digest = open_dataset(DatasetInput(path=str(path), digest=promised), scratch)
    return digest, str(read_sound_rows(shards)[0].messages[0]["content"])


def _training(path: Path, promised: str | None, scratch: Path) -> tuple[str, str]:
    found = load_training(DatasetInput(path=str(path), digest=promised), scratch, development_fraction="0", seed=1)
    return found.digest, str(found.rows[0].messages[0]["content"])


def _suite(path: Path, promised: str | None, scratch: Path) -> tuple[str, str]:
    spec = suite_spec(data={"uri": "pvc://d/s.jsonl", "digest": promised})
    found = load_suite(
        SuiteInput(name="s", path=str(path), digest=digests.document_digest(spec.to_dict()), spec=spec), scratch
    )
    return str(promised), str(found.rows[0].messages[0]["content"])


def _further(path: Path, promised: str | None, scratch: Path) -> tuple[str, str]:
    suite = FurtherSuite(name="f", path=str(path), digest=str(promised), data_digest=str(promised))
    rows = list(_Reading(scratch, 10**6).rows(suite))
    return str(promised), str(rows[0].messages[0]["content"])


@pytest.mark.attack(56)
@pytest.mark.parametrize("open_", [_dataset, _training, _suite, _further])
def test_rows_that_are_swapped_all_the_time_are_the_promised_ones_or_refused(tmp_path: Path, open_: Opener) -> None:
    path = tmp_path / "data" / "rows.jsonl"
    path.parent.mkdir()
    write_rows(path, GOOD)
    promised = digests.sha256(lines(GOOD))
    assert open_(path, promised, tmp_path) == (promised, "Item 0: code?")
    with swapping(path, (lines(OTHER), lines(GOOD))):
        for _ in range(READINGS):
            with suppress(BadInput):
                assert open_(path, promised, tmp_path) == (promised, "Item 0: code?")
    path.write_bytes(lines(OTHER))
    with pytest.raises(BadInput, match="digest"):
        open_(path, promised, tmp_path)


@pytest.mark.attack(56)
@pytest.mark.parametrize("open_", [_dataset, _training])
def test_the_digest_that_is_found_is_that_of_the_rows_that_are_used(tmp_path: Path, open_: Opener) -> None:
    """At validation of a job that names no digest: whatever comes, digest and rows belong together."""
    path = tmp_path / "data" / "rows.jsonl"
    path.parent.mkdir()
    write_rows(path, GOOD)
    told = {digests.sha256(lines(GOOD)): "Item 0: code?", digests.sha256(lines(OTHER)): "Item 500: code?"}
    with swapping(path, (lines(OTHER), lines(GOOD))):
        for _ in range(READINGS):
            digest, first = open_(path, None, tmp_path)
            assert told[digest] == first


@pytest.mark.attack(56)
@pytest.mark.parametrize("kind", ["file", "link", "folder", "link in a folder"])
def test_a_file_that_is_replaced_after_the_first_reading_changes_nothing(tmp_path: Path, kind: str) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere.jsonl"
    data.mkdir()
    path = data / "rows.jsonl"
    write_rows(elsewhere if "link" in kind else path, GOOD)
    if "link" in kind:
        path.symlink_to(elsewhere)
    root = data if "folder" in kind else path
    shards, digest = open_rows("data set", str(root), None, tmp_path)
    before = read_sound_rows(shards)

    path.unlink()
    write_rows(path, OTHER)
    if kind == "link in a folder":
        write_rows(elsewhere, OTHER)

    assert read_sound_rows(shards) == before
    assert before[0].messages[0]["content"] == "Item 0: code?"
    with pytest.raises(BadInput, match="digest"):
        open_rows("data set", str(root), digest, tmp_path)


@pytest.mark.attack(56)
def test_a_shard_that_is_added_after_the_first_reading_is_not_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_rows(data / "b.jsonl", GOOD)
    shards, _ = open_rows("data set", str(data), None, tmp_path)
    write_rows(data / "a.jsonl", OTHER)

    assert len(read_sound_rows(shards)) == len(GOOD)
    assert shards.place(1) == "b.jsonl:1"


@pytest.mark.attack(56)
def test_documents_that_are_swapped_all_the_time_have_the_digest_of_their_text(tmp_path: Path) -> None:
    path = tmp_path / "manual.md"
    contents = (b"approved words", b"other words")
    path.write_bytes(contents[0])
    with swapping(path, contents):
        for _ in range(READINGS):
            found = load_documents(DocumentsInput(path=str(path)))
            assert found.digest == digests.sha256(found.texts[0].encode())
