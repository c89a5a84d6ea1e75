"""Files of a data set: one or many, plain, compressed or Parquet, whole or cut off."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.file_rights import without_rights
from tunegate import digests
from tunegate.api.stage.configs import DatasetInput
from tunegate_trainer.data.shards import MAX_LINE, Record, find_shards, open_dataset, parse_line
from tunegate_trainer.endings import BadInput

OBJECTS: list[dict[str, Any]] = [{"n": number, "text": "é" * number} for number in range(1, 6)]
LINES = "".join(json.dumps(value) + "\n" for value in OBJECTS).encode()


def write_zstd(path: Path, data: bytes) -> None:
    with pyarrow.output_stream(str(path), compression="zstd") as stream:
        stream.write(data)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def values(path: Path) -> list[Any]:
    return [record.value for record in find_shards("data set", path).records()]


def test_every_format_gives_the_same_records(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(LINES))
    write_zstd(tmp_path / "c.jsonl.zst", LINES)
    write_parquet(tmp_path / "d.parquet", OBJECTS)

    for path in tmp_path.iterdir():
        assert values(path) == OBJECTS, path.name
    assert values(tmp_path) == OBJECTS * 4


def test_a_column_that_a_parquet_row_lacks_is_absent(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [{"n": 1, "turn": {"role": "user", "name": "x"}}, {"turn": {"role": "user"}}])

    assert values(tmp_path / "a.parquet") == [
        {"n": 1, "turn": {"role": "user", "name": "x"}},
        {"turn": {"role": "user"}},
    ]


def test_a_record_is_placed_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, count in (("a.jsonl.gz", 2), ("b.jsonl.gz", 0), ("sub/c.jsonl.gz", 3)):
        (tmp_path / name).write_bytes(gzip.compress(b"{}\n" * count))
    folder = find_shards("data set", tmp_path)
    single = find_shards("data set", tmp_path / "a.jsonl.gz")

    numbers = [record.number for record in folder.records()]
    list(single.records())

    assert numbers == [1, 2, 3, 4, 5]
    assert [folder.place(number) for number in numbers] == [
        "a.jsonl.gz:1", "a.jsonl.gz:2", "sub/c.jsonl.gz:1", "sub/c.jsonl.gz:2", "sub/c.jsonl.gz:3",
    ]  # fmt: skip
    assert single.place(2) == "2"


def test_what_is_no_data_is_left_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    for name in ("README.md", "_SUCCESS", ".hidden.jsonl", "LICENSE"):
        (tmp_path / name).write_text("x")

    assert values(tmp_path) == OBJECTS


@pytest.mark.parametrize(
    ("name", "reason"),
    [("rows.csv", "none of .jsonl"), ("rows.json", "one object a line"), ("train.py", "none of .jsonl")],
)
def test_other_files_are_refused_by_name(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / name).write_text("[]")

    with pytest.raises(BadInput, match=reason) as refused:
        find_shards("data set", tmp_path)
    assert name in str(refused.value)


def test_missing_and_empty_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a file"):
        find_shards("data set", tmp_path / "absent.jsonl")
    with pytest.raises(BadInput, match="no files"):
        find_shards("data set", tmp_path)


def test_a_linked_folder_is_refused_by_name(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "a.jsonl").write_bytes(LINES)
    (elsewhere / "b.jsonl").write_bytes(LINES)
    (folder / "more").symlink_to(elsewhere)

    with pytest.raises(BadInput, match="data set: more is a link to a folder"):
        find_shards("data set", folder)
    (folder / "more").unlink()
    (folder / "c.jsonl").symlink_to(elsewhere / "b.jsonl")
    assert values(folder) == OBJECTS * 2
    (elsewhere / "b.jsonl").unlink()
    with pytest.raises(BadInput, match=r"c\.jsonl is not a file that can be read"):
        find_shards("data set", folder)


def test_a_folder_and_a_file_that_cannot_be_read_are_refused_by_name() -> None:
    with TemporaryDirectory() as place, TemporaryDirectory() as scratch:
        folder, sub = Path(place), Path(place, "sub")
        sub.mkdir()
        (folder / "a.jsonl").write_bytes(LINES)
        (sub / "b.jsonl").write_bytes(LINES)
        folder.chmod(0o755)
        Path(scratch).chmod(0o777)
        for mode, reason in (
            (0o000, "the folder sub cannot be read"),
            (0o744, r"b\.jsonl is not a file that can be read"),
        ):
            sub.chmod(mode)
            with without_rights(), pytest.raises(BadInput, match=f"{reason}.*Permission denied"):
                find_shards("data set", folder)
        sub.chmod(0o755)
        (sub / "b.jsonl").chmod(0o000)
        with without_rights(), pytest.raises(BadInput, match=r"b\.jsonl cannot be read \(Permission denied\)"):
            open_dataset(DatasetInput(path=place), Path(scratch))


def test_a_data_set_may_lie_at_the_root_of_a_volume_whose_lost_files_only_root_may_read() -> None:
    with TemporaryDirectory() as place:
        folder, lost = Path(place), Path(place, "lost+found")
        folder.chmod(0o755)
        (folder / "a.jsonl").write_bytes(LINES)
        lost.mkdir(mode=0o700)
        (lost / "#12").write_bytes(b"once a file")
        with without_rights():
            assert values(folder) == OBJECTS
        assert values(folder) == OBJECTS


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    many = LINES * 2000
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(many))
    write_zstd(tmp_path / "c.jsonl.zst", many)
    write_parquet(tmp_path / "d.parquet", OBJECTS * 2000)

    for path in tmp_path.iterdir():
        cut(path)
        with pytest.raises(BadInput, match="damaged or cut off") as refused:
            values(path)
        assert path.name in str(refused.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_file_of_no_bytes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(BadInput, match=rf"{name} is damaged or cut off"):
        values(tmp_path)


def test_what_is_not_compressed_at_all_is_refused(tmp_path: Path) -> None:
    for name in ("b.jsonl.gz", "c.jsonl.zst", "d.parquet"):
        (tmp_path / name).write_bytes(LINES)
        with pytest.raises(BadInput, match="damaged or cut off"):
            values(tmp_path / name)


def test_a_giant_line_is_one_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * (3 * MAX_LINE) + b"\n" + b"{}\n")

    assert list(find_shards("data set", path).records()) == [Record(1, None, "line too long"), Record(2, {})]


def test_a_line_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    filler = "a" * (MAX_LINE - len('{"a": ""}'))
    path.write_text(json.dumps({"a": filler}) + "\n{}\n")

    assert values(path) == [{"a": filler}, {}]


def test_a_giant_row_of_parquet_is_one_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, [{"a": "x" * (MAX_LINE + 1)}, {"a": "y"}])

    assert list(find_shards("data set", path).records()) == [Record(1, None, "row too long"), Record(2, {"a": "y"})]


def test_parquet_is_read_in_pieces(tmp_path: Path) -> None:
    """One row group of 60 MB: neither the file's columns nor its rows lie in memory as a whole."""
    path = tmp_path / "rows.parquet"
    rows = pyarrow.Table.from_pylist([{"a": os.urandom(250_000).hex()} for _ in range(120)])
    pyarrow.parquet.write_table(rows, path, use_dictionary=False, write_batch_size=8)
    del rows
    before = pyarrow.total_allocated_bytes()

    most = max(pyarrow.total_allocated_bytes() for _ in find_shards("data set", path).records())

    assert path.stat().st_size > 55e6
    assert most - before < 30e6


def parquet_of(path: Path, values: pyarrow.Array) -> list[Record]:
    pyarrow.parquet.write_table(pyarrow.table({"a": values}), path)
    return list(find_shards("data set", path).records())


def test_values_of_parquet_that_cannot_be_read_are_broken_records(tmp_path: Path) -> None:
    bytes_as_text = pyarrow.array([b"fine", b"\xff\xfe"]).view(pyarrow.string())
    beyond_time = pyarrow.array([0, 2**62]).view(pyarrow.timestamp("us"))

    for column in (bytes_as_text, beyond_time):
        first, second = parquet_of(tmp_path / "rows.parquet", column)

        assert first.value is not None
        assert (second.number, second.value) == (2, None)
        assert "cannot be read" in str(second.problem)


def test_columns_of_every_arrow_type_give_what_plain_text_gives(tmp_path: Path) -> None:
    """Arrow counts a dictionary's or a view's whole column as the bytes of each row."""
    plain = pyarrow.array([f"{number} " + "x" * 50_000 for number in range(120)])
    listed = pyarrow.ListArray.from_arrays(list(range(121)), plain.dictionary_encode())
    nested = pyarrow.StructArray.from_arrays([plain.dictionary_encode(), plain.cast("string_view")], ["a", "b"])
    expected = plain.to_pylist()

    def read(column: pyarrow.Array) -> list[Any]:
        return [record.value and record.value["a"] for record in parquet_of(tmp_path / "rows.parquet", column)]

    assert read(plain) == read(plain.dictionary_encode()) == read(plain.cast("string_view")) == expected
    assert read(listed) == [[text] for text in expected]
    assert read(nested) == [{"a": text, "b": text} for text in expected]


def test_json_columns_of_parquet_are_text(tmp_path: Path) -> None:
    stored = pyarrow.array(['{"name": "find"}', "[1]"])
    column = pyarrow.ExtensionArray.from_storage(pyarrow.json_(), stored)

    assert [record.value for record in parquet_of(tmp_path / "rows.parquet", column)] == [
        {"a": text} for text in stored.to_pylist()
    ]


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{}\n{}\n")

    first, second = find_shards("data set", path).records()

    assert (first.value, second.value) == (None, {})
    assert "byte order mark" in str(first.problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "empty line"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "not a JSON object"),
    ],
)
def test_a_broken_line_is_named_by_kind(line: bytes, problem: str) -> None:
    assert parse_line(line) == (None, problem)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(line: bytes) -> None:
    value, problem = parse_line(line)

    assert (value is None) != (problem is None)


def digest_of(path: Path, scratch: Path) -> str:
    return open_dataset(DatasetInput(path=str(path)), scratch)[1]


def test_the_digest_names_one_file_or_all_names_and_contents(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "data", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    path = folder / "a.jsonl"
    path.write_bytes(LINES)

    assert digest_of(path, scratch) == digests.sha256(LINES)
    whole = digest_of(folder, scratch)
    path.rename(folder / "b.jsonl")
    assert digest_of(folder, scratch) != whole


def test_a_data_set_with_another_digest_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")

    assert open_dataset(DatasetInput(path=str(path)), tmp_path)[1] == digests.sha256(b"{}\n")
    with pytest.raises(BadInput, match="digest"):
        open_dataset(DatasetInput(path=str(path), digest="sha256:" + "0" * 64), tmp_path)
