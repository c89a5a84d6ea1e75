"""The table of values in charts/tunegate/README.md, from the chart's schema and defaults.

    python -m chores.chart_readme [--check]

Writes the page. With ``--check`` it writes nothing and fails if the page is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from chores import generated

CHART = Path(__file__).resolve().parents[1] / "charts/tunegate"
COMMAND = "make generate"
Json = dict[str, Any]


def values_section(schema: Json, defaults: Json) -> str:
    """Return a table of the values outside groups and one table per group, in the order of the defaults."""
    described = schema["properties"]
    single = [name for name in defaults if "properties" not in described[name]]
    parts = [_table(row for name in single for row in _rows(name, described[name], defaults[name]))]
    for name, value in defaults.items():
        if name not in single:
            _, *rows = _rows(name, described[name], value)
            parts.append(f"### {name}\n\n{described[name]['description']}\n\n{_table(rows)}")
    return "\n".join(parts)


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ["| value | default | meaning |", "|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _rows(path: str, entry: Json, default: Any) -> Iterator[Sequence[str]]:
    """Yield path, default and meaning: one row for a value; for a group a row of its own and those of its values."""
    if "properties" not in entry:
        yield f"`{path}`", f"`{_short(default)}`", _meaning(entry)
        return
    yield f"`{path}`", "", entry["description"]
    for name, value in default.items():
        yield from _rows(f"{path}.{name}", entry["properties"][name], value)


def _short(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, str):
        return value or '""'
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("...\n").strip()


def _meaning(entry: Json) -> str:
    sentences = [entry["description"]]
    if "enum" in entry:
        sentences.append(f"One of {', '.join(map(str, entry['enum']))}.")
    if "maximum" in entry:
        sentences.append(f"From {entry.get('minimum', 0)} to {entry['maximum']}.")
    elif "minimum" in entry:
        sentences.append(f"At least {entry['minimum']}.")
    parts = entry.get("items", {}).get("properties", {})
    if parts:
        needed = entry["items"].get("required", [])
        names = [f"`{name}`" if name in needed else f"`{name}` (optional)" for name in parts]
        sentences.append(f"A list; each entry has {', '.join(names)}.")
    return " ".join(sentences)


def current(readme: str) -> str:
    """Return the page as it should be."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    return generated.replace(readme, COMMAND, values_section(schema, defaults))


def main(arguments: Sequence[str] | None = None) -> int:
    page = CHART / "README.md"
    return generated.write_or_check(page, current(page.read_text()), arguments, "Write the chart's table of values.")


if __name__ == "__main__":
    raise SystemExit(main())
