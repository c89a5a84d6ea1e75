"""Data sets, documents and suites, as the stages read them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow
from pydantic import ValidationError

from tests.mutated_files.kinds import Files, Kind, Wrong, scratch
from tests.mutated_files.mutations import parquet, zstd
from tests.support.suites import SCHEMA, suite_spec
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.stage.configs import DocumentsInput
from tunegate.api.suite_checks import pattern_problem, suite_problems
from tunegate.errors import wrong_fields
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import open_rows
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.documents import cut, load_documents
from tunegate_trainer.evaluation.pattern import _fill
from tunegate_trainer.evaluation.suite_checks import check_suite

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
FORMS: dict[str, list[dict[str, Any]]] = {
    "alpaca": [{"instruction": "Who?", "input": "", "output": "Ada", "history": [["a", "b"]], "system": "s"}] * 3,
    "sharegpt": [{"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada"}], "tools": "[]"}] * 3,
    "preference": [{"prompt": "Who?", "chosen": [ASSISTANT], "rejected": "Bob", "score_chosen": 1.5}] * 3,
}  # fmt: skip
PAIRS = [{"prompt": "Wér?", "completion": "Ada", "group": f"g{number}"} for number in range(20)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as they stand in a file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _table(dictionary: bool = False) -> bytes:
    table = pyarrow.Table.from_pylist(PAIRS)
    if dictionary:
        table = table.set_column(0, "prompt", table.column("prompt").dictionary_encode())
    return parquet(table)


def read_data(folder: Path) -> str | None:
    """Read a data set as every stage does, and use each row as every check does."""
    broken = None
    try:
        entries = list(folder.iterdir())
        where = entries[0] if len(entries) == 1 and entries[0].is_file() else folder
        shards, _ = open_rows("data set", str(where), None, scratch(folder))
        for row in RowStream(shards):
            place = shards.place(row.number)
            if not isinstance(row, Row):
                broken = broken or f"data set: row {place}: {row.problem}"
                continue
            if not ("\n".join(row.texts).encode() and len(row.content) == 32 and row.group("group")):
                raise Wrong("a row without text, content or group")
            json.dumps(row.prompt, allow_nan=False)
    except BadInput as refused:
        return refused.message
    return broken


def read_documents(folder: Path) -> str | None:
    """Read an author's documents, and cut them into passages."""
    try:
        found = load_documents(DocumentsInput(path=str(folder)))
    except BadInput as refused:
        return refused.message
    if any(len(passage) > 400 or not passage.strip() for text in found.texts for passage in cut(text, 400)):
        raise Wrong("a passage that is empty or too long")
    return None


QUESTIONS = [
    Row(number, ({"role": "user", "content": "Who?"}, {"role": "assistant", "content": answer}), {"group": "a"})
    for number, answer in enumerate(['{"holder": "Ada"}', "MIT", ""], 1)
]  # fmt: skip
PATTERN = r"(?P<years>\d{4}(?:-\d{4})?)\s+(?P<holder>[^\n]+?)(?:\.|\n|$)"
TEMPLATE = '{{"holder": "{holder}", "years": "{years}"}}'


def _suites() -> Files:
    extraction = suite_spec(
        task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)},
        baselines={"regex": PATTERN, "regexTemplate": TEMPLATE},
    )
    classification = suite_spec(task={"type": "Classification", "labels": ["MIT", "Apache-2.0"]})
    # Schema, pattern and template by themselves as well, so that changes find them.
    parts = {"schema.json": json.dumps(SCHEMA), "pattern.txt": PATTERN, "template.txt": TEMPLATE}
    specs = {"extraction.json": extraction.to_dict(), "classification.json": classification.to_dict()}
    return {
        name: text.encode()
        for name, text in {**parts, **{key: json.dumps(spec) for key, spec in specs.items()}}.items()
    }


def read_suites(folder: Path) -> str | None:
    """Judge suites as admission, operator and validation do."""
    texts = {path.name: path.read_text(encoding="utf-8", errors="ignore") for path in folder.iterdir()}
    own = {
        "task": {"type": "Extraction", "jsonSchema": texts["schema.json"]},
        "baselines": {"regex": texts["pattern.txt"], "regexTemplate": texts["template.txt"]},
    }
    found = []
    for spec in (json.dumps({**suite_spec().to_dict(), **own}), texts["extraction.json"], texts["classification.json"]):
        try:
            suite = EvaluationSuiteSpec.model_validate_json(spec)
        except ValidationError as refused:  # by the API server
            found.append(wrong_fields(refused))
            continue
        found += suite_problems(suite)
        found += [finding.message for finding in check_suite(QUESTIONS, suite, str)]
        _fill_in(suite)
    return "; ".join(found) or None


def _fill_in(suite: EvaluationSuiteSpec) -> None:
    pattern, template = suite.baselines.regex, suite.baselines.regex_template
    if pattern is None or pattern_problem(pattern, template or "") is not None:
        return
    match = re.search(pattern, "1999 Ada Lovelace.")
    groups = match.groupdict() if match else dict.fromkeys(re.compile(pattern).groupindex)
    if template is not None and not isinstance(_fill(template, groups, True), str):
        raise Wrong("a template that gives no text")


DATA: dict[str, dict[str, bytes]] = {
    "data JSONL": {"rows.jsonl": lines(ROWS)},
    "data JSONL, gzip": {"rows.jsonl.gz": gzip.compress(lines(ROWS), mtime=0)},
    "data JSONL, zstd": {"rows.jsonl.zst": zstd(lines(ROWS))},
    "data Parquet": {"rows.parquet": _table()},
    "data Parquet, dictionary": {"rows.parquet": _table(dictionary=True)},
    "data folder": {
        "a/rows.jsonl": lines(ROWS), "b.jsonl": lines(ROWS), "c.jsonl.zst": zstd(lines(ROWS)), "README.md": b"# Rows",
    },
    **{f"data {name}": {"rows.jsonl": lines(rows)} for name, rows in FORMS.items()},
}  # fmt: skip
KINDS = [
    *(
        Kind(name, lambda files=files: files, read_data, r"^data set: ")  # type: ignore[misc]
        for name, files in DATA.items()
    ),
    Kind(
        "documents", lambda: {"a/b.md": "# Wér\n\nAda wrote it.\n".encode() * 20, "c.txt": b"one\r\n\r\ntwo"}, read_documents,
        r"^baseline\.documents: ",
    ),
]  # fmt: skip
SUITES = Kind(
    "suites", _suites, read_suites, r"task|baselines|suite|row|these fields are wrong", one_file=True, reported=True
)
"""Not one of the others: the compiler of JSON Schema is in the trainer image."""
