"""docs/use.md: its examples get an answer of a real gateway at the first try, in each language."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.standins import GOOD, KEY, Scene, routes, scene, to, until
from tests.support.pages import section
from tunegate.api.asked import AskedAs, keeping_to

ADDRESS, TOKEN = "http://licenses.licenses-team.svc", "/var/run/secrets/tunegate/token"
LANGUAGES = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "--eval"],
}
SCHEMA = {"type": "object", "required": ["holder"]}
ASKED_AS = AskedAs(max_tokens=48, system_prompt="Answer with JSON.", json_schema=json.dumps(SCHEMA))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, asked_as=ASKED_AS) as running:
        await running.cluster.put(routes(routes={"holders": to(GOOD)}, names=["holders"], revision=2))
        await until(lambda: "holders" in running.gateway.routes.open, "open")
        yield running


def example(language: str, heading: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", section("use.md", heading), re.DOTALL)
    return str(code)


async def run_example(stage: Scene, language: str, heading: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example against the gateway, as it stands but for its address and the token's file."""
    program = LANGUAGES[language]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    token = folder / "client-token"
    token.write_text(f"{KEY}\n")
    code = example(language, heading).replace(ADDRESS, stage.url).replace(TOKEN, str(token))
    assert stage.url in code
    assert str(token) in code
    done = await _run([*program, code])
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("language", ["sh", "python"])
async def test_the_examples_of_responses_and_messages_are_answered(stage: Scene, language: str, tmp_path: Path) -> None:
    done = await run_example(stage, language, "Responses and Messages", tmp_path)
    answers = [path for path, _, _ in stage.engine.seen]
    if language == "sh":
        assert done.stdout.count(f"{GOOD} answers") == 2
        assert answers == ["/v1/responses", "/v1/messages"]
    else:
        assert (done.stdout, answers) == ("ab", ["/v1/responses"])


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_example_is_answered_as_the_gate_was_at_the_first_try(
    stage: Scene, language: str, tmp_path: Path
) -> None:
    done = await run_example(stage, language, "Ask", tmp_path)
    assert f"{GOOD} answers" in done.stdout
    asked = stage.engine.seen[-1][1]
    assert (asked["temperature"], asked["max_tokens"], asked["messages"][0]["content"]) == (0, 48, "Answer with JSON.")
    assert asked["response_format"] == keeping_to(SCHEMA)


async def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program beside the gateway, which lives in this process."""
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=120)
