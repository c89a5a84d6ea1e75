"""The data statement for people: which rows the page shows, what is marked, and that no row can break out of it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

from tests.support.rows import SpaceTokenizer, row
from tests.support.statements import ORIGIN, data_statement
from tunegate.api.datachecks import DataCheck
from tunegate.api.datastatement import DataStatement
from tunegate.api.stage.findings import Finding
from tunegate.digests import sha256
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data.forms import detect
from tunegate_trainer.data.rows import Row, make_row
from tunegate_trainer.data.shards import Record
from tunegate_trainer.validation.data_checks import DataFacts, weigh
from tunegate_trainer.validation.page import render_page
from tunegate_trainer.validation.shown_rows import Example, Piece, choose
from tunegate_trainer.validation.statement import ROOT, code_digest

MARKUP = "</pre><script>alert(1)</script><img src=x onerror=y>&\"'"
CHECKS: frozenset[DataCheck] = frozenset({"Refusals"})
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "table", "thead", "tbody", "tr", "th", "td", "p",
    "pre", "mark", "code", "svg", "rect", "text",
}  # fmt: skip


class Reader(HTMLParser):
    """Gathers elements, attributes and text as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def facts(rows: list[Row], form: str = "Messages") -> DataFacts:
    meter = Meter(SpaceTokenizer(), CHECKS, Questions.of([]), None, 17)
    return weigh(meter.measure(rows), form, 1000, CHECKS)


def long(number: int) -> Row:
    return row(number, f"question{number} " * number)


def test_examples_go_from_the_shortest_to_the_longest_row_without_findings() -> None:
    refusing = row(50, "word " * 100, "I'm sorry, but I can't help.")

    assert choose(facts([*map(long, range(9, 0, -1)), refusing, long(2000)])) == [1, 3, 5, 7, 9]
    assert choose(facts([long(4)])) == [4]
    assert choose(facts([refusing])) == []


def test_the_statement_names_every_suite_that_rows_were_compared_with() -> None:
    said = data_statement().facts()["Compared with"]

    assert said == f"suite suite, 112 questions, {sha256(b'suite')}; suite tone, 40 questions, {sha256(b'tone')}"
    assert said in Reader(render_page(data_statement(), [])).text
    assert data_statement(compared_suites=[]).facts()["Compared with"] == "no suite"


def test_rejected_answers_that_are_not_used_keep_no_row_from_being_shown() -> None:
    assert choose(facts([long(1), long(2)], "Preference")) == [1, 2]


def test_the_row_set_has_one_digest_in_every_order_and_form_and_another_when_a_row_comes_twice() -> None:
    def digest(*values: Mapping[str, object]) -> str:
        rows = [make_row(Record(number, value), detect(value)) for number, value in enumerate(values, 1)]
        return facts([one for one in rows if isinstance(one, Row)]).rows_digest()

    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}]
    one, other = {"prompt": "Who?", "completion": "Ada"}, {"prompt": "Where?", "completion": "There"}

    assert digest(one, other) == digest(other, {"messages": turns, "source": "elsewhere"})
    assert len({digest(one, other), digest(one), digest(one, one), digest({**one, "completion": "ada"})}) == 4


def test_the_page_marks_what_is_trained_and_shows_special_tokens() -> None:
    said = (
        Piece("<|im_start|>", trained=False, special=True, tokens=1),
        Piece("user\nWho?", trained=False, special=False, tokens=3),
        Piece("Ada", trained=True, special=False, tokens=2),
        Piece("<|im_end|>", trained=True, special=True, tokens=1),
    )

    page = render_page(data_statement(), [Example("rows.jsonl:7", said)])

    assert "Row rows.jsonl:7: 7 tokens, 3 trained on" in page
    assert (
        "<pre>\n<code>&lt;|im_start|&gt;</code>user\nWho?<mark>Ada</mark><mark><code>&lt;|im_end|&gt;</code></mark></pre>"
    ) in page
    read = Reader(page)
    assert "<|im_start|>user\nWho?Ada<|im_end|>" in read.text
    for text in ("notices of packages", "MIT", "Ada", "2 rows repeat", "7, 9", "240 train"):
        assert text in read.text


def test_text_of_rows_and_jobs_cannot_break_out_of_the_page() -> None:
    origin = ORIGIN.model_copy(update={"source": MARKUP, "license": MARKUP, "steward": MARKUP})
    split = data_statement().split.model_copy(update={"group_field": MARKUP})
    finding = Finding(check="GroupField", action="Block", count=9, rows=[MARKUP], message=MARKUP)
    statement = data_statement(origin=origin, split=split, findings=[finding], form=MARKUP)

    page = render_page(statement, [Example(MARKUP, (Piece(MARKUP, trained=True, special=True, tokens=1),))])

    read = Reader(page)
    assert read.tags == ALLOWED
    assert read.text.count(MARKUP) == 9
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "href", "style")]


def test_only_texts_are_broken_inside_words_so_that_no_column_is_squeezed() -> None:
    long = Finding(check="RecommendedExamples", action="Warn", count=1, rows=["7"], message="m" * 400)
    page = render_page(data_statement(findings=[long]), [])
    assert "td.text { overflow-wrap: anywhere; }" in page
    assert page.count("overflow-wrap: anywhere") == 2, "of texts, and of rows"
    assert f'<td>RecommendedExamples</td><td class="text">{"m" * 400}</td><td>7</td>' in page


def test_a_browser_loads_nothing_and_applies_the_style() -> None:
    page = render_page(data_statement(), [])
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    applied = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()

    policies = [value for name, value in Reader(page).attributes if name == "content" and value and "src" in value]

    assert policies == [f"default-src 'none'; style-src 'sha256-{applied}'"]
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page


def test_a_statement_reads_as_it_was_written() -> None:
    statement = data_statement(split=data_statement().split.model_copy(update={"group_field": None}))

    assert DataStatement.model_validate(statement.to_dict()) == statement


def test_the_digest_of_the_check_code_changes_with_the_code(tmp_path: Path) -> None:
    copy = tmp_path / "code"
    shutil.copytree(ROOT, copy)
    assert code_digest(copy) == code_digest()
    with (copy / "checks" / "privacy.py").open("a") as file:
        file.write("# another line\n")
    assert code_digest(copy) != code_digest()
