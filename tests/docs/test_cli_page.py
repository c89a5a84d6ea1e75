"""docs/cli.md names every command, and its commands and settings are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.cli.test_grammar import leaves
from tests.support.pages import DOCS, commands, section
from tunegate.api.routes import Route
from tunegate.cli import config
from tunegate.cli.main import FAILED, INTERRUPTED, NOBODY_READS, WRONG_USAGE, main, parser

COMMANDS = {tuple(one.prog.split()[1:]) for one in leaves(parser())}
MENTION = re.compile(r"(?:[`$(]|: |^)\s?tunegate (?:-n \S+ )?([a-z]+)\b(?: ([a-z]+)\b)?", re.MULTILINE)
ROOT = DOCS.parent
PLACES = ("*.md", "docs/**/*.md", "examples/**/*.yaml", "charts/*/templates/**/*", "operator/**/*.py", "crds/*.yaml")


def test_every_command_stands_in_the_table() -> None:
    named: set[str] = set()
    for row in section("cli.md", "Commands").splitlines():
        quoted = [words.removeprefix("tunegate ") for words in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
        named |= {re.sub(r" (KIND|job|server)?/?[A-Z]+.*$", "", words) for words in quoted}
    assert named >= {one.prog.removeprefix("tunegate ") for one in leaves(parser())}


def test_the_commands_for_waiting_and_logs_are_understood() -> None:
    lines = [*commands("cli.md", "Waiting and logs"), *commands("submit.md", "Follow it")]
    assert len(lines) == 6
    for line in lines:
        parser().parse_args(shlex.split(line, comments=True)[1:])


def test_the_routes_of_the_page_are_ones() -> None:
    for title in ("Share a route between releases", "Roll out step by step"):
        (block,) = re.findall(r"```yaml\n(.*?)```", section("operate.md", title), re.DOTALL)
        (shown,) = yaml.safe_load(block)["routes"]
        route = Route.model_validate(shown).to_dict()
        assert all(route[key] == value for key, value in shown.items() if key != "canary")
        assert route.get("canary", {}).items() >= shown.get("canary", {}).items()


@pytest.mark.parametrize(
    ("page", "title", "count"),
    [
        ("cli.md", "Sign in", 1),
        ("cli.md", "Jobs day by day", 7),
        ("cli.md", "Ask a model", 2),
        ("operate.md", "Route a name", 4),
        ("operate.md", "Roll out step by step", 5),
        ("operate.md", "Try a release on copies of requests", 2),
    ],
)
def test_the_commands_of_every_day_are_understood(page: str, title: str, count: int) -> None:
    lines = list(commands(page, title))
    assert len(lines) == count
    for line in lines:
        parser().parse_args(shlex.split(line.partition(" > ")[0], comments=True)[1:])


def test_the_first_job_of_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = (f'{{"prompt": "Notice {n}?", "completion": "Holder {n}"}}\n' for n in range(300))
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    line = next(line for line in commands("submit.md", "The job") if line.startswith("tunegate init"))
    assert main([*shlex.split(line)[1:], "--offline"]) == 0
    assert len((tmp_path / "notices/questions.jsonl").read_text().splitlines()) == 80
    assert yaml.safe_load((tmp_path / "notices/job.yaml").read_text())["spec"]["dataset"]["steward"] == "licenses-team"


def test_the_settings_of_the_pages_are_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for page, title in (("cli.md", "Settings"), ("review.md", "Look before you decide")):
        block = re.findall(r"```yaml\n(.*?)```", section(page, title), re.DOTALL)[0]
        (tmp_path / "config.yaml").write_text(block)
        monkeypatch.setenv(config.VARIABLE, str(tmp_path / "config.yaml"))
        told = config.read().registry
        assert told is not None
        assert told.to_dict().keys() >= yaml.safe_load(block)["registry"].keys()


def test_the_settings_for_asking_are_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.findall(r"```yaml\n(.*?)```", section("cli.md", "Settings"), re.DOTALL)[1]
    (tmp_path / "config.yaml").write_text(block)
    monkeypatch.setenv(config.VARIABLE, str(tmp_path / "config.yaml"))
    told = config.read().gateway
    assert told is not None
    assert told.to_dict() == yaml.safe_load(block)["gateway"]


def test_every_exit_status_stands_on_the_page() -> None:
    told = {int(one) for one in re.findall(r"^\| (\d+) \|", section("cli.md", "Exit statuses"), re.MULTILINE)}
    assert told == {0, FAILED, WRONG_USAGE, 3, INTERRUPTED, NOBODY_READS}


def test_no_page_and_no_message_names_a_command_that_does_not_exist() -> None:
    files = [path for place in PLACES for path in ROOT.glob(place) if path.is_file()]
    mentioned = {
        (path.relative_to(ROOT).as_posix(), *words) for path in files for words in MENTION.findall(path.read_text())
    }
    assert len(mentioned) > 50
    verbs = {first for first, *rest in COMMANDS if rest}
    unknown = [
        one
        for one in sorted(mentioned)
        if (one[1] in verbs and one[2] and one[1:] not in COMMANDS) or one[1] not in {first for first, *_ in COMMANDS}
    ]
    assert unknown == []
