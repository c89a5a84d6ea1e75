"""Data files and suites that somebody broke are read, or refused by a known error: never an error of an unknown class.

The examples are the same in each run; TUNEGATE_MUTATIONS asks for more of them.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.suites import SCHEMA, suite_spec
from tunegate.api.suite_checks import pattern_problem, suite_problems
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.pattern import _fill
from tunegate_trainer.evaluation.suite_checks import check_suite

EXAMPLES = int(os.environ.get("TUNEGATE_MUTATIONS", "400"))
"""For each kind of file, and for suites."""
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": [1, 2.5, null]}'}}
USER, ASSISTANT = (
    {"role": "user", "content": [{"type": "text", "text": "Wér?"}]},
    {"role": "assistant", "content": "Ada"},
)
ROWS: list[dict[str, Any]] = [
    {"messages": [USER, ASSISTANT], "group": "a", "system": "Be brief.", "label": True},
    {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "x"}, ASSISTANT],
     "tools": json.dumps([TOOL])},
    {"messages": [USER, {**ASSISTANT, "weight": 1}], "tools": [TOOL], "images": []},
]  # fmt: skip
PAIRS = [{"prompt": "Wér?", "completion": "Ada", "group": f"g{number}"} for number in range(20)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
FRAGMENTS = [
    b"null", b"NaN", b"1e999", b"{}", b"[]", b'""', b"\\ud800", b"\x00", b"\xff", b"\n", b",", b'"messages":', b'"label": false',
    b'"tools": ', b'"content": 5', b'"conversations": [{}]', b"[" * 200, b"9" * 5000, b"\xef\xbb\xbf",
]  # fmt: skip


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))


def parquet(dictionary: bool) -> bytes:
    table = pyarrow.Table.from_pylist(PAIRS)
    if dictionary:
        table = table.set_column(0, "prompt", table.column("prompt").dictionary_encode())
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="none")
    return sink.getvalue()


FILES = {
    "a.jsonl": LINES, "a.jsonl.gz": gzip.compress(LINES, mtime=0), "a.jsonl.zst": zstd(LINES), "a.parquet": parquet(False),
    "dictionary.parquet": parquet(True),
}  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Return content with a few places changed, cut out, doubled, or replaced by what readers stumble over."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 8, 40])))
        inserted = draw(
            st.sampled_from(FRAGMENTS) | st.binary(min_size=1, max_size=4) | st.just(bytes(data[start:end]) * 2)
        )
        data[start:end] = inserted
    return bytes(data)


def read_all(path: Path) -> None:
    """Read a file as every stage does, and use each row as every check does."""
    shards = find_shards("data set", path)
    for row in RowStream(shards):
        assert shards.place(row.number)
        if isinstance(row, Row):
            assert "\n".join(row.texts).encode()
            assert len(row.content) == 32
            assert row.group("group")
            assert json.dumps(row.prompt, allow_nan=False)
        else:
            assert row.problem


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FILES)
def test_mutated_data_are_read_or_refused(name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        read: Callable[[bytes], None] = lambda content: _read_or_refuse(path, content)  # noqa: E731
        settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)(
            given(mutated(FILES[name]))(read)
        )()


def _read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = ""
    try:
        read_all(path)
    except BadInput as refused:
        message = refused.message
    assert message.startswith("data set: ") or not message


QUESTIONS = [
    Row(number, ({"role": "user", "content": "Who?"}, {"role": "assistant", "content": answer}), {"group": "a"})
    for number, answer in enumerate(['{"holder": "Ada"}', "MIT", ""], 1)
]  # fmt: skip
PATTERN = r"(?P<years>\d{4}(?:-\d{4})?)\s+(?P<holder>[^\n]+?)(?:\.|\n|$)"
TEMPLATE = '{{"holder": "{holder}", "years": "{years}"}}'


def text(content: str) -> st.SearchStrategy[str]:
    return mutated(content.encode()).map(lambda data: data.decode(errors="ignore"))


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Possible")
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(text(json.dumps(SCHEMA)), text(PATTERN), text(TEMPLATE), st.lists(st.text(max_size=5), max_size=4))
def test_mutated_suites_are_judged(schema: str, pattern: str, template: str, labels: list[str]) -> None:
    try:
        extraction = suite_spec(
            task={"type": "Extraction", "jsonSchema": schema}, baselines={"regex": pattern, "regexTemplate": template}
        )
        classification = suite_spec(task={"type": "Classification", "labels": labels})
    except ValidationError:
        return  # refused by the API server
    assert all(problem.startswith(("task.", "baselines.")) for problem in suite_problems(extraction))
    assert all(finding.message for finding in check_suite(QUESTIONS, classification, str))
    if pattern_problem(pattern, template) is None:
        match = re.search(pattern, "1999 Ada Lovelace.")
        assert isinstance(
            _fill(template, match.groupdict() if match else dict.fromkeys(re.compile(pattern).groupindex), True), str
        )
