"""Findings about the rows: broken, untrainable, too long, doubled, shared with the suite. Numbers of rows, never text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.stages import Finding
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.data.overlap import find_duplicates, find_overlap
from tunegate_trainer.data.rows import BrokenRow, Row, read_rows
from tunegate_trainer.endings import BadInput
from tunegate_trainer.findings import block, warn

TOO_LONG_SHARE = 0.05
"""Rows above `method.maxLength` are left out of training; above this share the setting is wrong, and the job refused."""


@dataclass
class DataFacts:
    """What was counted."""

    rows: list[Row]
    broken: int
    lengths: dict[int, int] = field(default_factory=dict)
    """Tokens by row number."""
    too_long: frozenset[int] = frozenset()
    duplicates: frozenset[int] = frozenset()
    overlap: int = 0
    findings: list[Finding] = field(default_factory=list)

    def usable(self) -> list[Row]:
        """Rows that training will see and that say something new."""
        return [row for row in self.rows if row.number in self.lengths and row.number not in self.too_long]

    def distinct(self) -> list[Row]:
        """Usable rows without repetitions."""
        return [row for row in self.usable() if row.number not in self.duplicates]


def examine(path: Path, questions: Sequence[Row], tokenizer: ChatTokenizer, max_length: int) -> DataFacts:
    """Read and count the training rows of ``path``; ``max_length`` is in tokens."""
    rows, broken = read_rows(path)
    facts = DataFacts(rows=rows, broken=len(broken))
    facts.findings += _broken(broken)
    facts.findings += _tokenize(facts, tokenizer)
    facts.too_long = frozenset(number for number, length in facts.lengths.items() if length > max_length)
    facts.findings += _too_long(facts, max_length)
    repeated = find_duplicates(rows)
    facts.duplicates = frozenset(repeated)
    if repeated:
        message = f"{len(repeated)} rows repeat an earlier row: they weigh double in training"
        facts.findings.append(warn("duplicates", message, count=len(repeated), rows=repeated))
    overlap = find_overlap(rows, questions)
    facts.overlap = len(overlap.exact) + len(overlap.shared)
    if overlap.exact:
        message = f"{len(overlap.exact)} rows ask a question of the suite: the gate would measure memory; remove them"
        facts.findings.append(block("overlap", message, count=len(overlap.exact), rows=overlap.exact))
    if overlap.shared:
        message = f"{len(overlap.shared)} rows share 13 words in a row with a question of the suite, beyond boilerplate"
        facts.findings.append(warn("sharedText", message, count=len(overlap.shared), rows=overlap.shared))
    return facts


def _broken(broken: Sequence[BrokenRow]) -> list[Finding]:
    kinds: dict[str, list[int]] = defaultdict(list)
    for line in broken:
        kinds[line.problem].append(line.number)
    return [
        block("brokenRows", f"{len(numbers)} lines: {kind}", count=len(numbers), rows=numbers)
        for kind, numbers in kinds.items()
    ]


def _tokenize(facts: DataFacts, tokenizer: ChatTokenizer) -> list[Finding]:
    kinds: dict[str, list[int]] = defaultdict(list)
    for row in facts.rows:
        try:
            facts.lengths[row.number] = len(tokenizer.encode(row.messages).input_ids)
        except ConversationProblem as problem:
            kinds[str(problem)].append(row.number)
    return [
        block("template", f"{len(numbers)} rows: {kind}", count=len(numbers), rows=numbers)
        for kind, numbers in kinds.items()
    ]


def _too_long(facts: DataFacts, max_length: int) -> list[Finding]:
    count = len(facts.too_long)
    if not count:
        return []
    make = block if count > TOO_LONG_SHARE * len(facts.rows) else warn
    message = f"{count} rows are longer than {max_length} tokens (method.maxLength) and are left out of training"
    return [make("tooLong", message, count=count, rows=sorted(facts.too_long))]


def read_questions(path: Path) -> list[Row]:
    """Return the suite's questions. Raises ``BadInput``: a frozen suite with broken lines was never right."""
    rows, broken = read_rows(path)
    if broken or not rows:
        where = f"line {broken[0].number}: {broken[0].problem}" if broken else "no rows"
        raise BadInput(f"suite: {len(broken)} broken lines, {where}")
    return rows


def check_questions(
    questions: Sequence[Row], suite: EvaluationSuiteSpec, tokenizer: ChatTokenizer, max_model_len: int
) -> list[Finding]:
    """Refuse a suite whose questions do not fit the engine, and point out a suite that repeats itself."""
    findings = []
    room = max_model_len - suite.task.max_tokens
    long = [question.number for question in questions if tokenizer.count_question(question.prompt) > room]
    if long:
        message = (
            f"{len(long)} questions of the suite with task.maxTokens exceed the server profile's {max_model_len} tokens"
        )
        findings.append(block("suiteLength", message, count=len(long), rows=long))
    repeated = find_duplicates(questions)
    if repeated:
        message = f"{len(repeated)} questions of the suite repeat an earlier one"
        findings.append(warn("suiteDuplicates", message, count=len(repeated), rows=repeated))
    return findings
