"""The table of docs/log-events.md: what the programs log, read from the calls themselves.

python -m chores.log_events [--check]
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chores import generated

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/log-events.md"
COMMAND = "python -m chores.log_events"
PROGRAMS = {
    "operator/tunegate/exchange": "exchange",
    "operator/tunegate/gateway": "gateway",
    "operator/tunegate/registry_volume.py": "volume",
    "operator/tunegate/serving": "adapters",
    "operator/tunegate": "operator",
    "trainer-image/tunegate_trainer": "stage",
}
"""Folder or file to the program that logs, the inner ones first."""
LOGGERS = ("log", "logger")
LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error", "critical": "critical"}
"""Method to level. What is logged for debugging has no event."""


@dataclass(frozen=True, order=True)
class Call:
    """One call of a logger. ``event`` is empty where the call names none."""

    event: str
    program: str
    level: str
    message: str
    fields: tuple[str, ...]
    place: str


def calls() -> list[Call]:
    """Return all calls of loggers, in the order of their events."""
    files = sorted({file for folder in PROGRAMS for file in (ROOT / folder).rglob("*.py")})
    return sorted(call for file in files for call in _calls(file))


def _calls(file: Path) -> Iterator[Call]:
    path = file.relative_to(ROOT).as_posix()
    program = next(name for folder, name in PROGRAMS.items() if path == folder or path.startswith(f"{folder}/"))
    for node in ast.walk(ast.parse(file.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        logger = node.func.value
        if isinstance(logger, ast.Name) and logger.id in LOGGERS and node.func.attr in LEVELS:
            message = node.args[0].value if isinstance(node.args[0], ast.Constant) else "%s"
            name, fields = _event(node)
            yield Call(name, program, LEVELS[node.func.attr], str(message), fields, f"{path}:{node.lineno}")


def _event(call: ast.Call) -> tuple[str, tuple[str, ...]]:
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    if not (isinstance(extra, ast.Call) and isinstance(extra.func, ast.Name) and extra.func.id == "event"):
        return "", ()
    name = extra.args[0].value if extra.args and isinstance(extra.args[0], ast.Constant) else ""
    return str(name), tuple(keyword.arg or "further ones" for keyword in extra.keywords)


def table(found: Sequence[Call]) -> str:
    """Return the Markdown table, one line for each event of a program."""
    lines = ["| event | program | level | sentence | fields |", "|---|---|---|---|---|"]
    for call in found:
        named = ", ".join(f"`{name}`" if name != "further ones" else name for name in call.fields)
        sentence = call.message.replace("%s", "…").replace("%d", "…").replace("%g", "…").replace("|", "/")
        line = f"| `{call.event}` | {call.program} | {call.level} | {sentence} | {named} |"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page or, with `--check`, only compare it."""
    page = generated.replace(PAGE.read_text(), COMMAND, table(calls()))
    return generated.write_or_check(PAGE, page, arguments, "Write the table of log events.")


if __name__ == "__main__":
    raise SystemExit(main())
