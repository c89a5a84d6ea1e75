"""What the checks found in the rows, as findings: numbers of rows, never text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from tunegate import digests
from tunegate.api.datachecks import CheckAction, CheckSetting, DataCheck
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.numbers import agreeing
from tunegate.api.stage.findings import Finding
from tunegate_trainer.checks import label_noise, languages, near_duplicates, sample, triggers
from tunegate_trainer.checks.likeness import Bags
from tunegate_trainer.checks.meter import Measured
from tunegate_trainer.checks.privacy import GAVE_UP
from tunegate_trainer.checks.redaction import placeholder
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.findings import Place, block, finding, warn

MESSAGES: dict[DataCheck, str] = {
    "BrokenRows": "{count} [row|rows]: {kind}",
    "Template": "{count} [row|rows]: {kind}",
    "ControlTokens": "{count} [row|rows]: the text {kind}, which would end the turn or begin another",
    "InvisibleCharacters": "{count} [row holds|rows hold] characters that people do not see (bidirectional controls, zero-width spaces, tags)",
    "TooLong": "{count} [row is|rows are] longer than {kind} tokens (method.maxLength) and [is|are] left out of training",
    "Duplicates": "{count} [row repeats|rows repeat] an earlier row: [it weighs|they weigh] double in training",
    "NearDuplicates": "{count} [row nearly repeats|rows nearly repeat] an earlier row (estimated similarity {kind} or more)",
    "Contradictions": "{count} [row answers|rows answer] an input that other rows answer differently",
    "CopiedInput": "{count} [answer only repeats|answers only repeat] the question",
    "Refusals": "{count} [answer begins|answers begin] by refusing: the model would learn to refuse",
    "LanguageMix": "{count} [row|rows] {kind}: [is it|are they] meant?",
    "LabelNoise": "{count} [row has|rows have] a label that the rest of the data would not give [it: look at it|them: look at them]",
    "Triggers": "{count} [row has|rows have] one answer and a rare word, phrase or sign, and nothing else that goes with the answer: a planted trigger?",
    "UnusedRejected": "{count} preference [row: only its chosen answer is|rows: only their chosen answers are] trained on",
    "Overlap": "{count} [row asks or holds|rows ask or hold] a question of the suite {kind}: its gate would measure memory; remove [it|them]",
    "SharedText": "{count} [row shares|rows share] 13 words in a row, or nearly all words, with a question of the suite {kind}, beyond boilerplate",
    "PersonalData": "{count} [row holds|rows hold] personal data: {kind}",
    "HealthData": "{count} [row holds|rows hold] health identifiers: {kind}",
    "Secrets": "{count} [row holds|rows hold] a secret: {kind}; remove it, and revoke it, since it was copied",
}  # fmt: skip

SAMPLED: tuple[DataCheck, ...] = ("LanguageMix", "LabelNoise", "Triggers")
"""Checks that read rows again, and of many rows a sample."""

Kinds = dict[str, Sequence[int]]
"""Kind of problem to row numbers."""


@dataclass(frozen=True)
class DataFacts:
    """What is known of the rows; the arrays have one entry for every row that the chat template can render."""

    records: int
    rows: Any
    usable: Any
    """Boolean: training sees the row."""
    distinct: Any
    """Boolean: it does, and no earlier row is the same."""
    found: dict[DataCheck, Kinds]
    enabled: frozenset[DataCheck]
    sampled: int = 0
    """Rows that the checks of ``SAMPLED`` looked at."""
    unchecked: tuple[DataCheck, ...] = ()
    """Checks that are on and whose library is not installed here."""

    def count(self, *checks: DataCheck) -> int:
        """Return how many rows one of the checks found something in."""
        found = (numbers for check in checks for numbers in self.found.get(check, {}).values())
        return len({number for numbers in found for number in numbers})

    def count_if_on(self, *checks: DataCheck) -> int | None:
        """Return how many rows those checks that are on found something in; None when all are off."""
        on = [check for check in checks if check in self.enabled]
        return self.count(*on) if on else None

    def share(self, check: DataCheck) -> float:
        """Return the share of the rows that a check looked at in which it found something."""
        return self.count(check) / max(self.sampled if check in SAMPLED else self.records, 1)

    def flagged(self) -> list[int]:
        """Return the numbers of rows that a check found something in; UnusedRejected says nothing of what is trained on."""
        found = (kinds for check, kinds in self.found.items() if check != "UnusedRejected")
        return sorted({number for kinds in found for numbers in kinds.values() for number in numbers})

    def rows_digest(self) -> str:
        """Return the digest that names the set of rows, copies counted: of the sorted hashes, so that order is nothing."""
        return digests.sha256(numpy.sort(self.rows["content"]).tobytes())

    def label_counts(self) -> dict[int, int]:
        """Return how often each answer occurs among the distinct rows, by its hash."""
        labels, counts = numpy.unique(self.rows["label"][self.distinct], return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    def histogram(self) -> dict[str, int]:
        """Return rows by length: the power of two up to which their tokens reach, to their number."""
        bounds = 1 << numpy.ceil(numpy.log2(numpy.maximum(self.rows["tokens"], 1))).astype(int)
        return {str(bound): int(count) for bound, count in zip(*numpy.unique(bounds, return_counts=True), strict=True)}


def weigh(measured: Measured, form: str | None, max_length: int, enabled: frozenset[DataCheck]) -> DataFacts:
    """Derive findings that concern more than one row from the measured columns; ``max_length`` is in tokens."""
    rows = measured.rows
    too_long = rows["tokens"] > max_length
    repeated = _repeated(rows["whole"])
    found: dict[DataCheck, Kinds] = {}
    for (check, kind), numbers in measured.hits.items():
        found.setdefault(check, {})[kind] = numbers
    found["TooLong"] = {str(max_length): rows["number"][too_long].tolist()}
    found["Duplicates"] = {"": rows["number"][repeated].tolist()}
    if "NearDuplicates" in enabled:
        near = near_duplicates.repeats(rows["signature"]) & ~repeated
        found["NearDuplicates"] = {f"{near_duplicates.SIMILARITY:g}": rows["number"][near].tolist()}
    found["Contradictions"] = {"": rows["number"][_contradicted(rows["question"], rows["answer"])].tolist()}
    found["SharedText"] = _shared(measured)
    if form == "Preference":
        found["UnusedRejected"] = {"": rows["number"].tolist()}
    return DataFacts(measured.records, rows, ~too_long, ~too_long & ~repeated, found, enabled)


def _shared(measured: Measured) -> Kinds:
    """Return the rows that share text with a suite, by its name, but for those that ask its question as a whole."""
    hits = measured.hits
    return {
        name: sorted({*hits.get(("SharedText", name), ()), *rows} - {*hits.get(("Overlap", name), ())})
        for name, rows in measured.common.telling_rows(measured.records).items()
    }


def look_closer(facts: DataFacts, stream: RowStream) -> DataFacts:
    """Read rows again for the checks that compare each with the rest, and return the facts with what they found."""
    asked = facts.enabled.intersection(SAMPLED)
    if not asked:
        return facts
    rows = stream.again(sample.choose(facts.rows, facts.distinct))
    return weigh_sample(facts, sample.take(rows, with_languages="LanguageMix" in asked))


def weigh_sample(facts: DataFacts, taken: sample.Sample) -> DataFacts:
    """Return the facts with what the checks of ``SAMPLED`` that are on find in the sampled rows."""
    bags = Bags.of(taken)
    found: dict[DataCheck, Kinds] = {}
    unchecked: tuple[DataCheck, ...] = ()
    if "LanguageMix" in facts.enabled:
        found["LanguageMix"] = {kind: taken.numbers[at].tolist() for kind, at in languages.mixed(taken.languages)}
    if "LabelNoise" in facts.enabled:
        try:
            found["LabelNoise"] = {"": taken.numbers[label_noise.mislabeled(bags, taken.answers)].tolist()}
        except ModuleNotFoundError:
            unchecked = ("LabelNoise",)
    if "Triggers" in facts.enabled:
        found["Triggers"] = {"": taken.numbers[triggers.carriers(taken, bags)].tolist()}
    return replace(facts, found={**facts.found, **found}, sampled=len(taken.numbers), unchecked=unchecked)


def _repeated(hashes: Any) -> Any:
    """Return which entries equal an earlier one."""
    repeated = numpy.ones(len(hashes), bool)
    repeated[numpy.unique(hashes, return_index=True)[1]] = False
    return repeated


def _contradicted(questions: Any, answers: Any) -> Any:
    """Return which rows share their question with a row of another answer."""
    pairs = numpy.unique(numpy.stack([questions, answers], axis=1), axis=0)
    distinct, count = numpy.unique(pairs[:, 0], return_counts=True)
    return numpy.isin(questions, distinct[count > 1])


def findings(facts: DataFacts, settings: Sequence[CheckSetting], stream: RowStream) -> Iterator[Finding]:
    """Yield what the settings make of the facts."""
    for check in facts.unchecked:
        yield warn(
            check, "not checked here, for want of scikit-learn: install it (150 MB), or see what validation says"
        )
    for setting in settings:
        tolerated = setting.action == "Block" and facts.share(setting.name) <= float(setting.max_share)
        action: CheckAction = "Warn" if tolerated else setting.action
        if action == "Off":
            continue
        for kind, numbers in facts.found.get(setting.name, {}).items():
            if numbers:
                message = agreeing(MESSAGES[setting.name], len(numbers)).format(count=len(numbers), kind=kind)
                if setting.name in SAMPLED and facts.sampled < facts.distinct.sum():
                    message += f" (of {facts.sampled} rows that were looked at)"
                if action == "Redact":
                    message += f"; training sees {placeholder(kind.removesuffix(GAVE_UP))} in its place"
                yield finding(
                    action, setting.name, message, count=len(numbers), rows=numbers, place=stream.shards.place
                )


def check_groups(facts: DataFacts, group_field: str | None, place: Place) -> list[Finding]:
    """Refuse a field that no row has, and point out rows that lack it: they are not kept together as was wished."""
    lacking = facts.rows["number"][~facts.rows["grouped"]].tolist()
    if not lacking:
        return []
    if len(lacking) == len(facts.rows):
        message = f"no row has the field {group_field}, which dataset.groupField names"
        return [block("GroupField", message, count=len(lacking), rows=lacking, place=place)]
    message = (
        agreeing(f"{len(lacking)} [row lacks|rows lack] the field ", len(lacking))
        + f"{group_field}, which dataset.groupField names: only copies stay together"
    )
    return [warn("GroupField", message, count=len(lacking), rows=lacking, place=place)]


def check_questions(
    questions: Sequence[Row], suite: EvaluationSuiteSpec, tokenizer: ChatTokenizer, max_model_len: int
) -> list[Finding]:
    """Refuse a suite whose questions the base model's chat template or the engine does not take."""
    found = []
    room = max_model_len - suite.task.max_tokens
    long, refused = [], []
    for question in questions:
        try:
            if tokenizer.count_question(question) > room:
                long.append(question.number)
        except ConversationProblem:
            refused.append(question.number)
    if refused:
        message = f"{len(refused)} {agreeing('[question of the suite is|questions of the suite are]', len(refused))} refused by the base model's chat template"
        found.append(block("SuiteTemplate", message, count=len(refused), rows=refused))
    if long:
        message = f"{len(long)} {agreeing('[question|questions] of the suite with task.maxTokens [exceeds|exceed]', len(long))} the server profile's {max_model_len} tokens"
        found.append(block("SuiteLength", message, count=len(long), rows=long))
    return found
