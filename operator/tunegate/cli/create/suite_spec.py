"""The spec of a suite from options, and from answers to questions where a terminal lacks some."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from tunegate.api.evaluationsuite import MetricName, SuiteTask
from tunegate.cli.cluster import Json
from tunegate.cli.failure import WrongUsage

TASKS: tuple[str, ...] = get_args(SuiteTask.model_fields["type"].annotation)
METRICS: tuple[str, ...] = get_args(MetricName)
FIELDS = {
    "uri": (
        "URI",
        "where the questions lie for the stages, as pvc://CLAIM/path; left out: they are pushed into the registry",
    ),
    "task": ("TASK", f"{' | '.join(TASKS)}; rewriting and other free text: Generation"),
    "metric": ("METRIC", f"that decides: {' | '.join(METRICS)}"),
    "margin": ("FRACTION", "the least gain over each alternative; default: 0.05"),
    "minimum": ("FRACTION", "what the tuned model must reach, from 0 to 1; default: 0"),
    "quality-bar": ("FRACTION", "if prompting reaches it, nothing is trained; default: 0.8"),
    "schema": ("FILE", "JSON Schema of the answers"),
    "labels": ("A,B,…", "the classes, for Classification"),
    "regex": ("PATTERN", "regular expression with named groups; @FILE reads it from a file"),
    "template": (
        "TEXT",
        "answer made of the groups: {name}, and a brace that is text twice; @FILE reads it from a file",
    ),
    "system-prompt": ("FILE", "the best instruction for the few-shot alternative"),
    "shots": ("NUMBER", "examples of the few-shot alternative; default: 5"),
    "max-tokens": ("NUMBER", "of the longest answer; default: 128"),
    "group-field": ("FIELD", "of a row that names its group, such as a document"),
}
SWITCHES = {
    "guided": "answers of the tuned model keep to the schema, at the gate and in serving",
    "retrieved-shots": "also ask with the training rows that are most similar to each question",
    "no-nearest-neighbor": "without the alternative that gives the most similar row's answer",
    "classifier": "also compare with TF-IDF and logistic regression, for Classification",
}
NEEDED = ("task", "metric")
MOST_LABELS = 20
"""Different answers up to which they may be the labels of a classification."""
Ask = Callable[[str, str], str]
"""Asks a question with a default and returns the answer."""


def value(options: Namespace, option: str) -> Any:
    """Return what was given for an option."""
    return getattr(options, option.replace("-", "_"))


def completed(options: Namespace, answers: Sequence[str]) -> Namespace:
    """Return the options with what was missing, asked for on a terminal; ``answers``: the expected ones.

    Raises ``WrongUsage`` with all that is missing where nobody can be asked.
    """
    missing = [name for name in NEEDED if value(options, name) is None]
    if not missing:
        return options
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise WrongUsage(
            f"also give {', '.join(f'--{name}' for name in missing)}; on a terminal you are asked for them"
        )
    return _asked(Namespace(**vars(options)), answers, _prompt)


def proposed_task(answers: Sequence[str]) -> str:
    """Return the task that expected answers look like."""
    looks_json = all(answer.lstrip().startswith(("{", "[")) for answer in answers)
    return "Classification" if _classes(answers) else "Extraction" if looks_json else "Generation"


def proposed_metric(task: str) -> str:
    """Return the metric that fits most suites of a task."""
    return {"Classification": "MacroF1", "Extraction": "ExactMatch"}.get(task, "RougeL")


def _classes(answers: Sequence[str]) -> list[str]:
    kinds = Counter(answer.strip() for answer in answers)
    return sorted(kinds) if len(kinds) <= min(MOST_LABELS, len(answers) // 2) else []


def spec_of(options: Namespace, digest: str) -> Json:
    """Return the spec, without what the server fills in. Raises ``WrongUsage`` for a file that cannot be read."""
    task = {
        "type": options.task,
        "maxTokens": _number(options, "max-tokens"),
        "jsonSchema": _file(options.schema),
        "decoding": "Guided" if options.guided else None,
        "labels": [one.strip() for one in options.labels.split(",")] if options.labels else None,
    }
    shots = {"shots": _number(options, "shots"), "systemPrompt": _file(options.system_prompt)}
    baselines = {
        "regex": _text(options.regex),
        "regexTemplate": _text(options.template),
        "retrievedShots": options.retrieved_shots or None,
        "nearestNeighbor": False if options.no_nearest_neighbor else None,
        "classifier": options.classifier or None,
    }
    return _given({
        "data": _given({"uri": options.uri, "digest": digest, "groupField": options.group_field}),
        "task": _given(task),
        "primaryMetric": _given({"name": options.metric, "margin": options.margin, "minimum": options.minimum}),
        "guardrails": [_guardrail(one) for one in options.guardrail or ()] or None,
        "fewShot": _given(shots) or None,
        "baselines": _given(baselines) or None,
        "qualityBar": options.quality_bar,
    })  # fmt: skip


def _asked(options: Namespace, answers: Sequence[str], ask: Ask) -> Namespace:
    """Fill in what is missing, each with a proposal by what the file holds."""
    if options.task is None:
        options.task = ask(f"Task ({', '.join(TASKS)})", proposed_task(answers))
    if options.task == "Classification" and options.labels is None:
        options.labels = ask("Labels, with commas between them", ",".join(_classes(answers)))
    if options.task == "Extraction" and options.schema is None:
        options.schema = ask("File with the JSON Schema of the answers (empty: none)", "") or None
    if options.metric is None:
        options.metric = ask(f"Metric that decides ({', '.join(METRICS)})", proposed_metric(options.task))
    if options.margin is None:
        from tunegate_trainer.evaluation.power import smallest_visible_gain

        shown = f"{smallest_visible_gain(len(answers)):.3f}"
        options.margin = ask(
            f"Least gain over each alternative ({len(answers)} questions show gains from {shown} on)", "0.05"
        )
    return options


def _prompt(question: str, proposed: str) -> str:
    print(f"{question}{f' [{proposed}]' if proposed else ''}: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise WrongUsage("the input ended before everything was said")
    return line.strip() or proposed


def _given(fields: Json) -> Json:
    return {name: content for name, content in fields.items() if content is not None}


def _number(options: Namespace, option: str) -> int | None:
    text = value(options, option)
    if text is None:
        return None
    if not text.isdecimal():
        raise WrongUsage(f"--{option} must be a whole number, not {text}")
    return int(text)


def _guardrail(text: str) -> Json:
    name, _, tolerance = text.partition("=")
    return _given({"name": name, "tolerance": tolerance or None})


def _text(text: str | None) -> str | None:
    return (_file(text[1:]) or "").rstrip("\n") if text and text.startswith("@") else text


def _file(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{name}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from error
