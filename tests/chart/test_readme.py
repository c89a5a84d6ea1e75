"""The chart's README lists every value, its example can be installed, and its links lead to files."""

from __future__ import annotations

import re

import pytest
import yaml

from chores import chart_readme, generated
from tests.chart.test_values import DEFAULTS, SCHEMA, keys
from tests.support import helm

PAGE = (helm.CHART / "README.md").read_text()


def test_the_table_is_that_of_schema_and_defaults() -> None:
    assert chart_readme.current(PAGE) == PAGE, "run `make generate`"


def test_the_table_names_every_value() -> None:
    named = set(re.findall(r"^(?:\| `|### )([\w.]+)", PAGE, re.MULTILINE))
    assert named == {path.removeprefix(".") for path in keys(DEFAULTS, SCHEMA)}


def test_the_example_is_accepted() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert helm.render(yaml.safe_load(example.replace("sha256:…", helm.DIGEST)))


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert len(links) > 3
    assert [link for link in links if not (helm.CHART / link).exists()] == []


def test_a_row_has_default_bounds_and_fields_of_a_value() -> None:
    schema = {
        "properties": {
            "level": {"description": "How loud.", "enum": ["LOW", "HIGH"]},
            "seconds": {"description": "How long.", "minimum": 1, "maximum": 9},
            "users": {"description": "Who|whom.", "items": {"properties": {"a": {}, "b": {}}, "required": ["a"]}},
            "group": {"description": "Two.", "properties": {"empty": {"description": "One.", "minimum": 0}}},
        }
    }
    assert chart_readme.values_section(
        schema, {"level": "LOW", "seconds": 5, "users": [], "group": {"empty": 0}}
    ).splitlines() == [
        "| value | default | meaning |",
        "|---|---|---|",
        "| `level` | `LOW` | How loud. One of LOW, HIGH. |",
        "| `seconds` | `5` | How long. From 1 to 9. |",
        "| `users` | `[]` | Who\\|whom. A list; each entry has `a`, `b` (optional). |",
        "",
        "### group",
        "",
        "Two.",
        "",
        "| value | default | meaning |",
        "|---|---|---|",
        "| `group.empty` | `0` | One. At least 0. |",
    ]


def test_only_the_generated_part_of_a_page_is_replaced() -> None:
    begin = generated.BEGIN.format(command="make it")
    page = f"by hand\n\n{begin}\nold\n{generated.END}\n\nby hand too\n"
    made = generated.replace(page, "make it", "new\n")
    assert made == f"by hand\n\n{begin}\n\nnew\n\n{generated.END}\n\nby hand too\n"
    assert generated.replace(made, "make it", "new") == made


@pytest.mark.parametrize("page", ["", "{begin}", "{begin}{end}{begin}{end}"])
def test_a_page_without_one_such_part_is_refused(page: str) -> None:
    broken = page.format(begin=generated.BEGIN.format(command="make it"), end=generated.END)
    with pytest.raises(ValueError, match="the page needs one part"):
        generated.replace(broken, "make it", "new")
