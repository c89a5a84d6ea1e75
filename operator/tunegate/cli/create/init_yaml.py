"""The files that `init` writes: each field with a comment, and what nobody said left empty and marked."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import dataclass
from typing import get_args

from tunegate.api.markers import DataClass
from tunegate.cli.create.init_site import Site
from tunegate.cli.create.suite_trial import Questions

REPLACE = "# REPLACE: "
TASK_TYPES = {"Extraction": "Format", "Classification": "Classification", "Generation": "Style"}
LONGEST = 1024
"""Tokens of `method.maxLength` where the server allows as many."""


@dataclass(frozen=True)
class Said:
    """Everything that goes into the files."""

    options: Namespace
    site: Site
    task: str
    metric: str
    training: Questions
    questions: Questions | None
    namespace: str | None

    @property
    def name(self) -> str:
        """Of job and suite."""
        return str(self.options.name)

    @property
    def classification(self) -> str | None:
        """As given, or the only class that is allowed."""
        given = self.options.classification
        return given or (self.site.classes[0] if len(self.site.classes) == 1 else None)

    def place(self, given: str | None, file: str) -> str | None:
        """Return an address on the only claim that is open for jobs, where none was given."""
        return given or (f"pvc://{self.site.claim}/{self.name}/{file}" if self.site.claim else None)


def job(said: Said) -> str:
    """Return the job."""
    options, site = said.options, said.site
    classes = ", ".join(site.classes or get_args(DataClass))
    cuda = bool(site.pool and site.pool.spec.device_resource)
    limits = site.server.spec.profile if site.server else None
    length = min(LONGEST, limits.max_model_len) if limits else LONGEST
    rank = min(16, limits.max_lora_rank) if limits else 16
    uri = said.place(options.uri, "train.jsonl")
    pushed = bool(uri and uri.startswith("oci://"))
    server = site.server.name if site.server else options.server
    base = f" It serves BaseModel {site.server.spec.base_model_ref.name}." if site.server else ""
    lines = [
        "# One try at tuning. Check it with `tunegate plan`, ask for it with `tunegate create job -f`, which fills in who you are.",
        "apiVersion: tunegate.io/v1alpha1",
        "kind: FineTuneJob",
        "metadata:",
        f"  name: {_text(said.name)}",
        _field("  namespace", said.namespace, "the governed namespace"),
        "spec:",
        f"  # The ModelServer that will serve the result.{base} See `kubectl get modelservers`.",
        _field("  serverRef: {name", server, "a ModelServer of the namespace", end="}"),
        *([f"  # The pool to train on.\n  poolRef: {{name: {_text(options.pool)}}}"] if options.pool else []),
        "  # The EvaluationSuite whose questions judge the result.",
        f"  suiteRef: {{name: {_text(options.suite or said.name)}}}",
        "  dataset:",
        f"    # Where the stages find {len(said.training.rows)} rows: pvc://CLAIM/path, or what `tunegate data push` prints.",
        _field("    uri", uri, "pvc://CLAIM/path, s3://… or oci://…@sha256:…"),
        *([] if pushed else ["    # Stages refuse any other content.", f"    digest: {said.training.digest}"]),
        f"    # Allowed here: {classes}.",
        _field("    classification", said.classification, f"one of {classes}"),
        "    # An SPDX expression such as CC-BY-4.0, or LicenseRef-… for a contract.",
        _field("    license", options.license, "the license of the rows"),
        _field("    source", options.source, "where the rows came from"),
        _field("    steward", options.steward, "who answers for the rows"),
        *_expires(said),
        *([f"    # Rows of one group stay on one side of the split.\n    groupField: {_text(options.group_field)}"] if options.group_field else []),
        "  intent:",
        "    # Style, Format, DomainVocabulary, Classification or ComplexInstructions: how many examples are the least that can work.",
        f"    taskType: {TASK_TYPES[said.task]}",
        "  method:",
        "    # LoRA, or QLoRA, which holds the base model in four bits: a fraction of the memory.",
        f"    type: {'QLoRA' if cuda else 'LoRA'}",
        *(_limited("rank", rank, "maxLoraRank", limits.max_lora_rank) if limits else [f"    rank: {rank}"]),
        "    # Longest row in tokens; `tunegate plan` says how many are longer.",
        f"    maxLength: {length}",
        "  # Estimates above it are refused before a device is touched.",
        "  budget:",
        "    maxDeviceHours: 8",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def suite(said: Said) -> str:
    """Return the suite."""
    options, asked = said.options, said.questions
    count = f"{len(asked.rows)} questions" if asked else "the questions"
    labels = sorted({answer.strip() for answer in (asked or said.training).answers})
    lines = [
        "# The frozen questions and what tuning has to beat. A suite never changes once it is made: try it first, with",
        f"# `tunegate create suite -f suite.yaml --from {'questions.jsonl' if options.split else options.questions or 'FILE'} --dry-run`.",
        "apiVersion: tunegate.io/v1alpha1",
        "kind: EvaluationSuite",
        "metadata:",
        f"  name: {_text(said.name)}",
        _field("  namespace", said.namespace, "the governed namespace"),
        "spec:",
        "  data:",
        f"    # Where the stages find {count}; never rows that are trained on.",
        _field("    uri", options.questions_uri, "") if options.questions_uri
        else "    # `tunegate create suite` pushes them, and writes `uri`; or say pvc://CLAIM/path here.",
        _field("    digest", asked.digest if asked else None, "`tunegate create suite` fills it in; --questions or --split does so here"),
        *([f"    groupField: {_text(options.group_field)}"] if options.group_field else []),
        "  task:",
        "    # Extraction, Classification or Generation.",
        f"    type: {said.task}",
        "    # Longest answer in tokens.",
        f"    maxTokens: {_longest(said)}",
        *([f"    labels: {json.dumps(labels, ensure_ascii=False)}"] if said.task == "Classification" else []),
        "  primaryMetric:",
        "    # ExactMatch, MacroF1 (Classification), RougeL, Bleu, or SchemaValidity (needs task.jsonSchema).",
        f"    name: {said.metric}",
        "    # The tuned model must be better than each alternative by at least this.",
        "    margin: 0.05",
        "  # If prompting reaches this, nothing is trained.",
        "  qualityBar: 0.8",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _longest(said: Said) -> int:
    """Return room for the longest answer, by its bytes: no tokenizer makes more tokens than these."""
    longest = max(len(answer.encode()) for answer in (said.questions or said.training).answers)
    most = said.site.server.spec.profile.max_model_len // 2 if said.site.server else 8192
    return max(1, min(128 if longest <= 128 else longest, most, 8192))


def _expires(said: Said) -> list[str]:
    required = said.site.policy is not None and "Retention" in said.site.policy.spec.required_rights
    if not (said.options.expires or required):
        return []
    return [
        "    # Last day on which the rows may be used.",
        _field("    expirationDate", said.options.expires, "a day as YYYY-MM-DD"),
    ]


def _limited(name: str, value: int, bound: str, most: int) -> list[str]:
    return [f"    # At most the server's {bound}, {most}.", f"    {name}: {value}"]


def _field(name: str, value: str | None, meaning: str, end: str = "") -> str:
    """Return a field; without a value it is empty, so that plan and admission refuse it, and marked."""
    return f"{name}: {_text(value)}{end}" if value else f"{name}: {end}  {REPLACE}{meaning}".replace(":   ", ":  ")


def _text(value: object) -> str:
    """Return a text of YAML: JSON is one, and a name needs no quotes."""
    text = str(value)
    plain = (
        text.replace("-", "").isalnum()
        and text.isascii()
        and not text.isdecimal()
        and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
    )
    return text if plain else json.dumps(text, ensure_ascii=False)
