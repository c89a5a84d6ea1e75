"""Rows that are read again: which ones, and what of them becomes a finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.rows import SpaceTokenizer, row
from tests.trainer.test_languages import ENGLISH, GERMAN
from tunegate.api.datachecks import CheckSetting, DataCheck
from tunegate.api.stage.findings import Finding
from tunegate_trainer.checks import sample
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.checks.scan import scan
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.validation.data_checks import DataFacts, findings, look_closer, weigh

ROWS = [row(number, ENGLISH.format(number), GERMAN) for number in range(1, 91)]
ROWS += [row(number, GERMAN.format(number), GERMAN) for number in range(91, 101)]


def look(folder: Path, rows: list[Row], *checks: DataCheck) -> tuple[DataFacts, RowStream]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": each.messages}) + "\n" for each in rows))
    stream = RowStream(find_shards("data set", path))
    enabled = frozenset(checks)
    measured = scan(stream, Meter(SpaceTokenizer(), enabled, Questions.of([]), None, 17), lambda _: None)
    return look_closer(weigh(measured, stream.form, 1000, enabled), stream), stream


def told(looked: tuple[DataFacts, RowStream], setting: CheckSetting) -> list[Finding]:
    return list(findings(looked[0], [setting], looked[1]))


def test_a_check_that_is_off_reads_nothing_again(tmp_path: Path) -> None:
    assert look(tmp_path, ROWS)[0].sampled == 0
    assert look(tmp_path, ROWS, "LanguageMix")[0].sampled == 100


def test_findings_name_rows_and_quote_nothing(tmp_path: Path) -> None:
    (finding,) = told(look(tmp_path, ROWS, "LanguageMix"), CheckSetting(name="LanguageMix", action="Warn"))

    assert (finding.count, finding.rows[0], finding.rows[-1]) == (10, "91", "100")
    assert finding.message == "10 rows are in a language that few rows have (de): are they meant?"


def test_of_many_rows_a_sample_is_looked_at_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "ROWS", 60)
    looked = look(tmp_path, ROWS, "LanguageMix")
    shuffled = look(tmp_path, ROWS[::-1], "LanguageMix")[0]

    (finding,) = told(looked, CheckSetting(name="LanguageMix", action="Block", max_share="0.01"))

    assert finding.message.endswith("(of 60 rows that were looked at)")
    assert finding.action == "Block"
    assert looked[0].count("LanguageMix") == shuffled.count("LanguageMix") > 0


def test_copies_and_rows_beyond_the_tokens_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = [row(number, "same") for number in range(1, 30)]
    assert look(tmp_path, [*ROWS, *copies], "Triggers")[0].sampled == 101

    monkeypatch.setattr(sample, "TOKENS", 1000)
    facts = look(tmp_path, ROWS, "Triggers")[0]
    assert 15 < facts.sampled < 30
