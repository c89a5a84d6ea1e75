"""The grammar as a whole: each command is explained by examples that are understood, and words mean the same everywhere."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator

import pytest

from tunegate import __version__
from tunegate.cli.main import main, parser

FORMATS = {"text", "json", "yaml", "wide", "name", "sarif", "croissant", "html", "svg", "uri"}


def leaves(top: ArgumentParser) -> Iterator[ArgumentParser]:
    """Yield the parsers of the commands that run something."""
    below = [one for one in top._actions if isinstance(one, _SubParsersAction)]
    for action in below:
        for one in action.choices.values():
            yield from leaves(one)
    if not below:
        yield top


COMMANDS = [pytest.param(one, id=one.prog) for one in leaves(parser())]


def examples(one: ArgumentParser) -> list[str]:
    heading, *lines = str(one.epilog).splitlines()
    assert heading == "examples:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize("one", COMMANDS)
def test_each_command_is_explained_by_examples_of_itself_that_are_understood(one: ArgumentParser) -> None:
    assert examples(one)
    for line in examples(one):
        assert line.startswith(f"{one.prog} ") or line == one.prog
        words = shlex.split(line.partition(" > ")[0].partition(" | ")[0])
        parser().parse_args(words[1:])
        assert line in one.format_help(), "examples are not wrapped"


@pytest.mark.parametrize("one", COMMANDS)
def test_output_is_a_format_wherever_it_is_an_option(one: ArgumentParser) -> None:
    for action in one._actions:
        if "-o" in action.option_strings or "--output" in action.option_strings:
            assert action.option_strings == ["-o", "--output"]
            assert action.choices is not None
            assert set(action.choices) <= FORMATS


def test_the_registry_is_never_a_required_option() -> None:
    required = {(one.prog, action.dest) for one in leaves(parser()) for action in one._actions if action.required}
    assert not [name for _, name in required if name.startswith("registry")]


@pytest.mark.parametrize(
    "words",
    [
        ["-n", "team", "get", "jobs"], ["get", "-n", "team", "jobs"], ["get", "jobs", "-n", "team"],
        ["audit", "verify", "-n", "team"],
    ],
)  # fmt: skip
def test_the_namespace_may_stand_anywhere(words: list[str]) -> None:
    assert parser().parse_args(words).namespace == "team"


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "powers", "--tsa-certificate", "x"], ["audit", "verify", "folder"], ["audit", "export"],
        ["evidence", "export", "r"], ["logs", "release/x"], ["logs", "x"], ["describe", "pool/x"], ["describe", "job/"],
        ["wait", "job/x"], ["wait", "job/x", "--for", "Succeeded"], ["wait", "job/x", "--for", "condition=A=maybe"],
        ["create", "release", "--model", "m"], ["create", "release", "--from-job", "j", "-f", "f"],
    ],
)  # fmt: skip
def test_what_a_command_does_not_take_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["create", "release", "--from-job", "j", "--risk", "Low"], "also give --model, --intended-use"),
        (["create", "release", "name", "-f", "f"], "leave out NAME"),
        (["create", "release", "-f", "f", "--risk", "Low"], "leave out --risk"),
        (["wait", "job/x", "--for", "phase=Serving"], "the phases of a job are Pending, "),
        (["wait", "server/x", "--for", "phase=Serving"], "Degraded"),
        (["audit", "verify", "--objects", "f"], "--objects belongs to --file"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage_before_any_cluster_is_asked(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_the_version_is_told_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert main(["version", "-o", "json"]) == 0
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.count(__version__) == 3


@pytest.mark.parametrize(
    ("command", "words"), [(("ask",), "json is for programs"), (("data", "show"), "json and yaml are for programs")]
)
def test_help_names_only_the_formats_that_a_command_has(
    command: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([*command, "--help"])
    assert words in " ".join(capsys.readouterr().out.split())
