"""YAML files that people write: merged mappings may say a field again, and a field that is written twice is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.cli.documents import read_documents
from tunegate.cli.failure import CommandFailure


def test_a_merged_mapping_may_be_overridden_and_merged_again(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("base: &x {k: 0}\na: {deep: {deeper: &b {<<: *x, k: 1}}}\nc: {<<: *b}\n")

    assert read_documents(str(path)) == [{"base": {"k": 0}, "a": {"deep": {"deeper": {"k": 1}}}, "c": {"k": 1}}]


@pytest.mark.parametrize(
    "text", ["a: 1\nb: 2\na: 3\n", "x: &x {k: 0}\nb: {<<: *x, k: 1, k: 2}\n", "deep: [{k: 1, k: 1}]\n"]
)
def test_a_field_that_is_written_twice_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)

    with pytest.raises(CommandFailure, match=r"(a|k) is given twice\n.*line \d+, column \d+"):
        read_documents(str(path))


@pytest.mark.parametrize("text", ["4e7e6916-cf00-4b39-ad85-6a25d3ffbc9a", "1e3-notices", "12E4.jsonl"])
def test_a_text_that_begins_like_a_number_is_text(tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(f"metadata: {{uid: {text}, number: 1e-3}}\n")
    (document,) = read_documents(str(file))
    assert document["metadata"] == {"uid": text, "number": 1e-3}
