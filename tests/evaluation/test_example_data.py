"""The data builder finds labelled notices, keeps holders apart and gives equal bytes for equal input."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.evaluation.test_example_manifests import builder

prepare_data = builder()
FILLER = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


def rule(copyrights: list[str], holders: list[str], body: str) -> str:
    lists = [("ignorable_copyrights", copyrights), ("ignorable_holders", holders)]
    front = "".join(f"{key}:\n" + "".join(f"    - {item}\n" for item in items) for key, items in lists)
    return f"---\nlicense_expression: mit\n{front}---\n\n{body}\n"


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("1999", "1999"),
        ("1999-2004", "1999-2004"),
        ("1999, 2001, 2003", "1999-2003"),
        ("1991-9", "1991-1999"),
        ("2002-04", "2002-2004"),
        ("1999, 1999", "1999"),
        ("2004, 1999", None),
    ],
)
def test_years_become_first_and_last(written: str, span: str | None) -> None:
    assert prepare_data.year_span(written) == span


def test_holder_over_two_commented_lines_is_found() -> None:
    text = rule(
        ["Copyright (c) 1999-2001 Example Works, Inc."],
        ["Example Works, Inc."],
        " * Hello.\n * Copyright (c) 1999-2001 Example\n * Works, Inc. All rights reserved.\n * More.",
    )
    (notice,) = prepare_data.notices_in(text)
    assert (notice.holder, notice.years) == ("Example Works, Inc", "1999-2001")
    assert "Copyright (c) 1999-2001 Example\n* Works, Inc. All rights" in notice.window


def test_window_holds_one_notice_only() -> None:
    text = rule(
        ["Copyright 1999 First Person", "Copyright 2003 Second Person"],
        ["First Person", "Second Person"],
        "Copyright 1999 First Person\nCopyright 2003 Second Person\nfree to use",
    )
    windows = {notice.holder: notice.window for notice in prepare_data.notices_in(text)}
    assert "2003" not in windows["First Person"]
    assert "1999" not in windows["Second Person"]


@pytest.mark.parametrize(
    ("statement", "body"),
    [
        ("Copyright 1999-present Example Works", "Copyright 1999-present Example Works"),
        ("Copyright 1999 Example Works", "no such words here"),
        ("Copyright Example Works", "Copyright Example Works"),
    ],
)
def test_what_cannot_be_labelled_is_left_out(statement: str, body: str) -> None:
    assert list(prepare_data.notices_in(rule([statement], ["Example Works"], body))) == []


def test_questions_share_no_holder_and_no_thirteen_words_with_training(tmp_path: Path) -> None:
    wheel = tmp_path / "database.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for n in range(120):
            holder = f"Maker{n // 3} Works{n // 3}"
            body = (
                f"{FILLER}\nCopyright 20{n % 20:02} {holder}\nuse it {n} times"
                if n % 10 == 0
                else f"Copyright 20{n % 20:02} {holder}\nuse it {n} times"
            )
            archive.writestr(f"data/{n:03}.RULE", rule([f"Copyright 20{n % 20:02} {holder}"], [holder], body))
    sizes = prepare_data.prepare(tmp_path / "a", wheel)
    assert sizes == prepare_data.prepare(tmp_path / "b", wheel)
    for name in ("train.jsonl", "suite.jsonl", "schema.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    rows = {
        name: [json.loads(line) for line in (tmp_path / "a" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "suite")
    }
    assert len(rows["train"]) > len(rows["suite"]) > 10
    assert not {row["holder"] for row in rows["train"]} & {row["holder"] for row in rows["suite"]}
    known = set().union(*(prepare_data.shingles(row["messages"][1]["content"]) for row in rows["train"]))
    assert known
    assert not any(prepare_data.shingles(row["messages"][1]["content"]) & known for row in rows["suite"])
