"""What people see: colors on a terminal only, and nobody's words can hide anything."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tunegate.cli import screen

PRINT = "from tunegate.cli import screen; screen.table(screen.console(), ('PHASE',), [('Serving',)])"
GREEN = "\x1b[32m"


def on_terminal(**environment: str) -> str:
    """Run the code above on a terminal of its own, and return what the terminal got."""
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-c", PRINT]
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
