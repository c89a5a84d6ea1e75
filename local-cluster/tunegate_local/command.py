"""Running other programs: one way for all modules, so that a failing program always says what it was and what it printed."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunegate_local.failure import Failure


def run(
    arguments: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    next_step: str = "read the message above",
) -> str:
    """Run a program and return what it printed; a program that is missing or fails becomes a Failure."""
    words = [str(word) for word in arguments]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise Failure(words[0], f"not installed ({error})", next_step) from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-3000:]
        raise Failure(Path(words[0]).name, f"`{shlex.join(words)}` ended with {done.returncode}:\n{said}", next_step)
    return done.stdout


def succeeds(arguments: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a program runs and ends with 0; what it prints is dropped."""
    words, variables = [str(word) for word in arguments], {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(words, env=variables, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def run_logged(
    arguments: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    next_step: str,
) -> None:
    """Run a long program with its output in a log file; on failure the log's end is part of the message."""
    words = [str(word) for word in arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        try:
            code = subprocess.run(
                words,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        except FileNotFoundError as error:
            raise Failure(words[0], f"not installed ({error})", next_step) from error
    if code != 0:
        raise Failure(Path(words[0]).name, f"`{shlex.join(words[:6])} …` ended with {code}", next_step, log)
