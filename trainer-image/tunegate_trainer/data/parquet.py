"""Rows of a Parquet file, a few at a time: neither the file's columns nor its rows lie in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROWS = 64
BATCH_BYTES = 16 * 1024 * 1024
"""Rows of a Parquet file that are decoded at a time, at most, and bytes, as far as a row group's average says."""
BUFFER_BYTES = 1024 * 1024
"""Bytes of a column that are read at a time."""
UNREADABLE = "a value that cannot be read: text that is not UTF-8, or a time out of range"


class DamagedParquet(Exception):
    """The file cannot be read to its end; the text is the kind of error, as pyarrow calls it."""


def parquet_rows(file: Path, longest: int) -> Iterator[tuple[Mapping[str, Any] | None, str | None]]:
    """Yield each row without its nulls, or what is wrong with it; ``longest``: the bytes that a row may have.

    Raises ``DamagedParquet`` and ``OSError`` for a file that cannot be read to its end.
    """
    import pyarrow

    try:
        yield from _file_rows(file, longest)
    except MemoryError:
        raise  # pyarrow's own is of both kinds
    except pyarrow.ArrowException as error:
        raise DamagedParquet(type(error).__name__) from error


def _file_rows(file: Path, longest: int) -> Iterator[tuple[Mapping[str, Any] | None, str | None]]:
    import pyarrow.parquet

    # Read in pieces and not ahead: by default all of a row group, often the whole file, lies in memory.
    with pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as table:
        schema = pyarrow.schema([field.with_type(_plain(field.type)) for field in table.schema_arrow])
        for group in range(table.num_row_groups):
            facts = table.metadata.row_group(group)
            fitting = BATCH_BYTES // max(1, facts.total_byte_size // max(1, facts.num_rows))
            for batch in table.iter_batches(max(1, min(fitting, ROWS)), row_groups=[group]):
                yield from _rows(batch, schema, longest)


def _rows(batch: Any, schema: Any, longest: int) -> Iterator[tuple[Mapping[str, Any] | None, str | None]]:
    if batch.schema.types != schema.types:
        batch = batch.cast(schema)
    for at in range(batch.num_rows):
        yield _row(batch.slice(at, 1), longest)


def _plain(kind: Any) -> Any:
    """Return the type whose values lie in memory one after the other.

    A slice of a dictionary or of views counts the whole column's bytes as its own, however short it is.
    """
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        return _plain(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if types.is_string_view(kind):
        return pyarrow.large_string()
    if types.is_binary_view(kind):
        return pyarrow.large_binary()
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(_plain(field.type)) for field in kind])
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_plain(kind.value_type)), kind.list_size)
    if types.is_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return pyarrow.large_list(kind.value_field.with_type(_plain(kind.value_type)))
    return kind


def _row(batch: Any, longest: int) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the one row of a batch, or what is wrong with it. What JSON cannot hold is left to those who need it as JSON."""
    if batch.nbytes > longest:
        return None, "row too long"
    try:
        (value,) = batch.to_pylist()
        return _without_nulls(value), None
    except (ValueError, OverflowError, TypeError, NotImplementedError, RecursionError):
        return None, UNREADABLE


def _without_nulls(value: Any) -> Any:
    """Drop nulls at every depth: Parquet fills each object with the fields of all others. In JSON a null was written."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
