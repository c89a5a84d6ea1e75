"""What people see: colors on a terminal only, and nobody's words can hide anything."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tunegate.cli import screen

PRINT = "from tunegate.cli import screen; screen.table(screen.console(), ('PHASE',), [('Serving',)])"
GREEN = "\x1b[32m"


def on_terminal(code: str = PRINT, width: int = 80, **environment: str) -> str:
    """Run code on a terminal of its own that is ``width`` columns wide, and return what the terminal got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    unset = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    clean = {key: value for key, value in os.environ.items() if key not in unset}
    command = [sys.executable, "-c", code]
    subprocess.run(command, stdout=theirs, env={**clean, "TERM": "xterm-256color", **environment}, check=True)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    return shown


def test_phases_have_colors_on_a_terminal_unless_the_person_wants_none() -> None:
    assert GREEN in on_terminal()
    plain = on_terminal(NO_COLOR="1")
    assert "Serving" in plain
    assert GREEN not in plain


def read_on_terminal(code: str, width: int) -> list[str]:
    """Return the lines that a person sees."""
    return re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(code, width)).splitlines()


HEADERS = ("NAME", "PHASE", "PROGRESS", "GATE", "WAITS FOR", "REQUESTED BY", "AGE", "MESSAGE")
JOB = (
    "invoices-of-the-third-quarter", "Baselining", "13 %", "-", "room on nodes", "erin@example.org", "4m",
    "Baselining: no node can take the pod: of 3 nodes, 3 have too little free cpu. It starts by itself.",
)  # fmt: skip
LIST = (
    f"from tunegate.cli import screen; screen.listing(screen.console(), {HEADERS!r}, [{JOB!r}, {JOB!r}],"
    " less_important=('AGE', 'REQUESTED BY', 'GATE', 'PROGRESS', 'MESSAGE'))"
)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 250])
def test_a_list_has_one_line_for_each_row_and_breaks_no_name(width: int) -> None:
    head, *rows = read_on_terminal(LIST, width)
    assert len(rows) == 2
    assert all(len(row) <= width for row in (head, *rows)), rows
    for cell in (JOB[0], "Baselining", "room on nodes"):
        assert cell in rows[0]
    assert ("MESSAGE" in head) == (width >= 80)
    assert rows[0].rstrip().endswith("…") == (80 <= width < 200)
    assert ("REQUESTED BY" in head) == (width >= 120)


def test_a_terminal_too_narrow_for_the_names_still_shows_them_whole() -> None:
    assert JOB[0] in "".join(read_on_terminal(LIST, 30))


def test_a_page_wraps_sentences_and_never_words() -> None:
    rows = [("Baseline", "Running", "1", "the engine loads the base model and answers the questions of the suite " * 2)]
    code = f"from tunegate.cli import screen; screen.table(screen.console(), ('stage', 'state', 'attempt', 'message'), {rows!r})"
    lines = read_on_terminal(code, 60)
    assert any(line.startswith("Baseline  Running  1        the engine") for line in lines), lines
    assert {word for line in lines for word in line.split()} <= {
        *["stage", "state", "attempt", "message"],
        *" ".join(rows[0]).split(),
    }


def test_a_pipe_gets_whole_lines_without_colors(tmp_path: Path) -> None:
    code = f"from tunegate.cli import screen; screen.table(screen.console(), ('A', 'B'), [('Serving', {'x' * 900!r})])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[1] == f"Serving  {'x' * 900}"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("harmless\x1b[1A\x1b[2K", r"harmless\x1b[1A\x1b[2K"),
        ("ton \u202eesu", r"ton \u202eesu"),
        ("two\nlines", "two lines"),
        ("over\rwritten", r"over\rwritten"),
    ],
)
def test_what_a_terminal_would_act_on_is_spelled_out(
    text: str, spelled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.facts(screen.console(), [("intended use", text)])
    assert capsys.readouterr().out == f"  intended use  {spelled}\n"


def test_brackets_in_other_peoples_words_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(screen.console(), ("reason",), [("[link=http://example.org]fine[/link] [bold]",)])
    assert "[link=http://example.org]fine[/link] [bold]" in capsys.readouterr().out
