"""Work beside other work: in order, with the errors that it raises, and rows that are kept like those that are read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.rows import SpaceTokenizer
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data import rows
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.meanwhile import meanwhile, one_ahead


def test_each_value_comes_with_its_own_result_in_order() -> None:
    assert list(one_ahead(lambda value: value * value, range(5))) == [(n, n * n) for n in range(5)]
    assert list(one_ahead(str, [])) == []


def test_what_the_work_raises_is_raised_where_its_result_is_used() -> None:
    def broken(value: int) -> int:
        if value == 2:
            raise ValueError("two")
        return value

    found = one_ahead(broken, range(4))
    assert [next(found), next(found)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="two"):
        next(found)
    with pytest.raises(ValueError, match="two"):
        meanwhile(broken, 2)()


def test_rows_that_were_kept_are_those_that_would_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"What is {n}?", "completion": str(n)}) for n in range(40)]
    path.write_text("\n".join([*lines[:20], "broken", *lines[20:]]) + "\n")
    wanted = frozenset({1, 20, 21, 22, 41})

    def chosen() -> list[Row]:
        stream = RowStream(find_shards("data set", path))
        assert len(list(stream)) == 41
        path.touch()
        return list(stream.again(wanted))

    kept = chosen()
    assert [row.number for row in kept] == [1, 20, 22, 41]
    for limit in (0, path.stat().st_size + rows.ROW_BYTES):
        monkeypatch.setattr(rows, "KEPT_BYTES", limit)
        assert chosen() == kept


def test_rows_measured_together_give_what_each_gives_by_itself() -> None:
    asked = [
        Row(n, ({"role": "user", "content": text}, {"role": "assistant", "content": "yes"}), {})
        for n, text in enumerate(
            [
                "Which of the parties has to give notice before the end of the term, and by which day of the month?",
                "Under which of these licences may the work be given away again without its source, and on what terms?",
            ],
            1,
        )
    ]
    texts = [
        asked[0].messages[0]["content"], "nothing of the kind", f"Dear all, {asked[1].messages[0]['content']} Thank you.",
        "of day which by and the term of the end before notice give to has parties the of which month the of", "x",
        "has to give notice before the end of the term, and by which day of the month comes the rest of this sentence?",
    ]  # fmt: skip
    made = [
        Row(n, ({"role": "user", "content": text}, {"role": "assistant", "content": "no"}), {})
        for n, text in enumerate(texts, 1)
    ]
    meter = Meter(SpaceTokenizer(), frozenset({"Overlap", "SharedText"}), Questions.of(asked, "gate"), None, 17)
    together = meter.measure(made)
    alone = [meter.measure([row]) for row in made]

    assert {key: sorted(n for one in alone for n in one.hits.get(key, [])) for key in together.hits} == together.hits
    assert {key for one in alone for key in one.hits} == set(together.hits)
    assert together.hits["Overlap", "gate"] == [1, 3]
    assert 6 in together.hits["SharedText", "gate"]
